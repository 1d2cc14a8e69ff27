// The grid: one part of the order at a time, one picture marked.

const cardAt = (place) => byId(`item-${place}`);
const markedItem = () => shown.items[shown.marked] || null;

async function load(from, marked = 0, focus = true) {
  const kind = shown.kind ? `&kind=${encodeURIComponent(shown.kind)}` : "";
  const found = await told(ask(`/items?from=${from}&count=${SIZE}${kind}`));
  if (found === null) return;
  if (!found.items.length && from > 0 && found.total > 0) {
    await load(Math.floor((found.total - 1) / SIZE) * SIZE, -1, focus);
    return;
  }
  forget();
  Object.assign(shown, { items: found.items, from, total: found.total, generation: found.generation });
  byId("grid").replaceChildren(...found.items.map(card));
  byId("empty").hidden = found.total > 0;
  byId("actions").hidden = found.total === 0;
  const last = from + found.items.length;
  byId("where").textContent = found.total ? `${number(from + 1)} to ${number(last)} of ${number(found.total)}` : "";
  byId("before").disabled = from === 0;
  byId("after").disabled = last >= found.total;
  if (found.items.length) mark(marked < 0 ? found.items.length - 1 : Math.min(marked, found.items.length - 1), focus);
}

function mark(place, focus = true) {
  const before = cardAt(shown.marked);
  if (before !== null) {
    before.setAttribute("aria-selected", "false");
    before.tabIndex = -1;
  }
  shown.marked = place;
  const now = cardAt(place);
  now.setAttribute("aria-selected", "true");
  now.tabIndex = 0;
  if (focus) {
    now.focus({ preventScroll: true });
    now.scrollIntoView({ block: "nearest" });
  }
}

async function move(by) {
  const place = shown.marked + by;
  if (place >= 0 && place < shown.items.length) mark(place);
  else if (place >= shown.items.length && shown.from + shown.items.length < shown.total) await page(1);
  else if (place < 0 && shown.from > 0) await page(-1, -1);
}

async function page(by, marked = 0) {
  if (!byId("renewed").hidden) {
    await renew(); // parts of two orders don't fit together
    return;
  }
  const from = shown.from + by * SIZE;
  if (from >= 0 && from < shown.total) await load(from, marked);
}

// How many cards stand beside each other.
function columns() {
  const [first, ...others] = [...byId("grid").children].map((one) => one.offsetTop);
  const next = others.findIndex((top) => top > first);
  return next < 0 ? others.length + 1 : next + 1;
}

// What stands on a picture, wherever it is shown.
function stand(standing, problem = "") {
  learnClass(standing.label);
  const place = shown.items.findIndex((item) => item.standing.picture === standing.picture);
  if (place < 0) return;
  shown.items[place].standing = standing;
  shown.items[place].problem = problem;
  draw(shown.items[place], cardAt(place));
}
