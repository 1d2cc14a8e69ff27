// The choice of a label: a list that is filtered by typing, and new names. Enter gives what is marked in the list. Nothing is
// marked as long as nothing is typed, or where the text is a new name that only stands inside others.

let offered = [];
let chosen = 0;

function chooseLabel() {
  if (markedItem() === null) return Promise.resolve();
  byId("label").value = "";
  offer();
  byId("labels").showModal();
  byId("label").focus();
  return Promise.resolve();
}

function offer() {
  const text = byId("label").value.trim();
  const wanted = text.toLowerCase();
  const found = classes().filter((name) => name.toLowerCase().includes(wanted));
  found.sort((a, b) => b.toLowerCase().startsWith(wanted) - a.toLowerCase().startsWith(wanted));
  const fits = (name) => name.toLowerCase() === wanted;
  found.sort((a, b) => fits(b) - fits(a));
  offered = text && !classes().includes(text) ? [...found, text] : found;
  const begins = offered.length && (offered[0] === text || offered[0].toLowerCase().startsWith(wanted));
  chosen = text && begins ? 0 : -1;
  byId("label-hint").textContent = "";
  const fresh = (name) => (classes().includes(name) ? null : element("small", {}, " new label"));
  const line = (name, place) => element("li", { role: "option", id: `label-${place}` }, named(name), fresh(name));
  byId("label-list").replaceChildren(...offered.map(line));
  point();
}

function point() {
  for (const [place, line] of [...byId("label-list").children].entries()) {
    line.setAttribute("aria-selected", place === chosen ? "true" : "false");
    if (place === chosen) line.scrollIntoView({ block: "nearest" });
  }
  if (chosen >= 0) byId("label").setAttribute("aria-activedescendant", `label-${chosen}`);
  else byId("label").removeAttribute("aria-activedescendant");
}

function give(place) {
  const label = offered[place];
  if (label === undefined) return;
  byId("labels").close();
  inTurn(() => decide("label", label));
}

byId("label").addEventListener("input", offer);
byId("label").addEventListener("keydown", (event) => {
  if (event.isComposing) return;
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step !== undefined && offered.length) {
    event.preventDefault();
    chosen = chosen < 0 && step < 0 ? offered.length - 1 : (chosen + step + offered.length) % offered.length;
    point();
  } else if (event.key === "Enter") {
    event.preventDefault();
    if (chosen >= 0) give(chosen);
    else byId("label-hint").textContent = offered.length ? "Choose one with ↓ first." : "Type a name first.";
  }
});
byId("label-list").addEventListener("click", (event) => {
  const line = event.target.closest("li");
  if (line !== null) give([...byId("label-list").children].indexOf(line));
});
byId("labels").addEventListener("close", () => {
  if (shown.items.length) mark(shown.marked);
});
