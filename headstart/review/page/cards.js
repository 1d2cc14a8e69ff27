// A card for each picture: what it is, what is proposed, what was decided. Thumbnails come once they are near the window.

const near = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    fill(target);
  }
}, { rootMargin: "400px" });

async function fill(frame) {
  const path = `v1/review/pictures/${frame.dataset.picture}`;
  const source = await service.thumbnail(path);
  if (!frame.isConnected) return;
  if (source === null) frame.replaceChildren(element("span", {}, "The picture is not there any more, or another one."));
  else frame.replaceChildren(element("img", { src: source, alt: "" }));
}

// Pictures of another part are asked for anew: their memory is given back.
async function forget() {
  near.disconnect();
  const before = [...service.thumbnails.values()];
  service.thumbnails.clear();
  for (const found of before) {
    const source = await found;
    if (source !== null) URL.revokeObjectURL(source);
  }
}

function frame(picture) {
  const made = element("span", { class: "thumb", "data-picture": picture }, "…");
  near.observe(made);
  return made;
}

function card(item, place) {
  const made = element("li", { role: "option", id: `item-${place}`, tabindex: "-1", "aria-selected": "false" });
  made.addEventListener("click", () => mark(place));
  made.append(element("span", { class: "frames" }, frame(item.standing.picture), item.twin && frame(item.twin.picture)));
  made.append(element("span", { class: "facts" }));
  draw(item, made);
  return made;
}

// Anew, but for the pictures.
function draw(item, made) {
  const { standing } = item;
  const done = standing.action !== null;
  made.classList.toggle("done", done);
  made.dataset.action = standing.action || "";
  const lines = [element("span", { class: "given" }, item.given.length ? named(item.given.join(" / ")) : "no label")];
  const why = WHY[item.kind];
  if (item.twin) lines.push(element("span", { class: "why" }, `${LIKE[item.kind]} `, named(twinned(item.twin))));
  else if (why && !done) lines.push(element("span", { class: "why" }, why));
  if (!done && item.action !== null) lines.push(element("span", { class: "proposal" }, ...proposal(item)));
  if (done) lines.push(element("span", { class: "decision" }, named(decided(standing))));
  if (item.problem) lines.push(element("span", { class: "warn" }, item.problem));
  const copies = item.copies > 1 ? ` · ${number(item.copies)} copies` : "";
  lines.push(element("small", { class: "id" }, named(item.id), ` · ${item.split}${copies}`));
  made.querySelector(".facts").replaceChildren(...lines);
}

function twinned({ id, split, given }) {
  return `${id} · ${split}${given.length ? ` · ${given.join(" / ")}` : ""}`;
}

function proposal(item) {
  const share = item.share === null ? "" : element("span", { class: "share" }, ` ${percent(item.share)}`);
  if (item.action === "label") return ["→ ", element("strong", {}, named(item.label)), share];
  if (item.action === "keep") return ["✓ keep", share];
  return ["→ ", element("strong", {}, "remove")];
}
