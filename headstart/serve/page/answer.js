// What the heads say of one picture, side by side.

function bars(labels) {
  const rows = labels.map(({ label, share }) => {
    const bar = element("span", { class: "bar" });
    bar.style.setProperty("--share", Math.max(0, Math.min(1, share)));
    return element(
      "li",
      {},
      element("span", { class: "name" }, named(label)),
      element("span", { class: "share" }, percent(share)),
      element("span", { class: "track", "aria-hidden": "true" }, bar),
    );
  });
  return element("ol", { class: "bars" }, ...rows);
}

// Empty where there are none, so that heads side by side have their bars side by side too.
function doubts(found, head) {
  if (head && !head.calibrated) return element("p", { class: "small" }, "Not calibrated: trust the order, not the shares.");
  if (found.unsure === null || found.unsure === undefined) return element("p", {});
  if (found.unsure) {
    const words = unsureWords(found.set, head ? head.classes.length : 0);
    return element("p", { class: "unsure" }, element("strong", {}, "Unsure"), `: ${words}.`);
  }
  if (found.set.length < 2) return element("p", {});
  return element("p", { class: "small" }, `Not ruled out: ${listed(found.set, "and")}.`);
}

function neighbour(one) {
  const place = element("span", { class: "thumb" }, one.thumbnail === null ? "no picture" : "…");
  const shown = element(
    "li",
    {},
    place,
    element("p", {}, element("strong", {}, named(one.label)), element("small", {}, `cosine ${one.cosine.toFixed(2)}`)),
    element("small", { class: "id" }, named(one.id)),
  );
  const load = async () => {
    const source = one.thumbnail === null ? null : await service.thumbnail(one.thumbnail);
    if (source !== null) place.replaceChildren(element("img", { src: source, alt: "" }));
    else place.textContent = "no picture";
  };
  return { shown, load };
}

// The pictures are asked for when they are looked at: a slow connection has more urgent things to carry.
function why(neighbours) {
  const found = neighbours.map(neighbour);
  let loaded = false;
  const opened = (event) => {
    if (!event.target.open || loaded) return;
    loaded = true;
    for (const { load } of found) load();
  };
  return element(
    "details",
    { class: "why", ontoggle: opened },
    element("summary", {}, "Why it thinks so"),
    element("p", { class: "small" }, "The pictures it learned from that are most like this one, and their labels:"),
    element("ul", { class: "sheet" }, ...found.map(({ shown }) => shown)),
  );
}

function headAnswer(found, known) {
  const head = known && known.heads.find(({ name }) => name === found.head);
  return element(
    "section",
    { class: "head" },
    element("h4", {}, named(found.title)),
    doubts(found, head),
    bars(found.labels),
    found.neighbours && found.neighbours.length ? why(found.neighbours) : element("div"),
  );
}
