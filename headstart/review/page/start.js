// Keys, buttons, and what others do meanwhile.

const MOVES = { ArrowRight: () => 1, ArrowLeft: () => -1, ArrowDown: columns, ArrowUp: () => -columns(), j: () => 1, h: () => -1 };
const SHORT = { Enter: "accept", a: "accept", " ": "keep", k: "keep", l: "other", n: "unsure", x: "remove", Delete: "remove", u: "undo" };
const AGAIN_MS = 1500;

function pressed(event) {
  const { key } = event;
  if (key in MOVES) return () => move(MOVES[key]());
  if (key in SHORT) return ACTIONS[SHORT[key]];
  if (/^[1-9]$/.test(key)) return () => (classes()[key - 1] === undefined ? null : decide("label", classes()[key - 1]));
  const others = {
    U: undoMarked,
    r: retrain,
    "?": () => byId("help").showModal(),
    Home: () => mark(0),
    End: () => mark(shown.items.length - 1),
    PageDown: () => page(1),
    PageUp: () => page(-1),
  };
  return others[key];
}

document.addEventListener("keydown", (event) => {
  const inside = event.target.closest("input,select,textarea,dialog,summary,a,button");
  if (inside !== null || event.ctrlKey || event.metaKey || event.altKey || shown.facts === null) return;
  if (!shown.items.length && !["r", "?", "u"].includes(event.key)) return;
  const work = pressed(event);
  if (work === undefined) return;
  event.preventDefault();
  inTurn(work);
});

function showKeys() {
  const names = classes().slice(0, 9).map((name, place) => `${place + 1} ${name}`);
  const first = KEYS.map(([key, , name]) => `${key} ${name.toLowerCase()}`);
  const more = classes().length - names.length;
  if (more > 0) names.push(`l for ${counted(more, "more label")}`);
  byId("keys").textContent = [...first, "r retrain", ...names].join(" · ");
}

function showLead(done) {
  const { facts } = shown;
  byId("lead").textContent = `${counted(facts.pictures, "picture")} of ${facts.dataset} · ${number(done)} decided`;
}

function showFacts(facts) {
  shown.facts = facts;
  shown.number = facts.number;
  document.title = `Review: ${facts.dataset}`;
  byId("title").textContent = "Which labels are right?";
  showLead(facts.decided);
  const all = facts.kinds.reduce((sum, one) => sum + one.count, 0);
  const option = ({ kind, count }) => element("option", { value: kind }, `${KINDS[kind]} (${number(count)})`);
  byId("kind").replaceChildren(...[{ kind: "", count: all }, ...facts.kinds].map(option));
  if (!facts.kinds.some(({ kind }) => kind === shown.kind)) shown.kind = "";
  byId("kind").value = shown.kind;
  byId("command").textContent = facts.command;
  byId("file").textContent = facts.corrections;
  byId("no-pictures").hidden = !facts.no_pictures;
  showKeys();
  showTraining(facts.retraining);
  byId("work").hidden = false;
}

// A new order, from its start.
async function renew() {
  const facts = await told(ask(""));
  if (facts === null) return;
  byId("renewed").hidden = true;
  shown.waits = false;
  showFacts(facts);
  await load(0, 0, document.activeElement === document.body || byId("grid").contains(document.activeElement));
}

// What others decided, and how a training goes. Who goes on deciding keeps the order that they look at, until they ask for
// the new one: a key must not hit another picture than the one that was seen.
async function follow() {
  let answer = null;
  try {
    answer = await ask(`/changes?since=${shown.number}`);
  } catch (error) {
    if (!(error instanceof Gone)) throw error;
    complain(GONE);
  }
  if (answer === null || answer.status !== 200 || !answer.body) return;
  const found = answer.body;
  if (found.epoch !== shown.facts.epoch) {
    location.reload(); // another service: what it knows is not what is shown
    return;
  }
  shown.number = found.number;
  for (const standing of found.changes) {
    const item = shown.items.find((one) => one.standing.picture === standing.picture);
    if (item && item.standing.version !== standing.version) stand(standing);
    else if (!item) learnClass(standing.label);
  }
  showLead(found.decided);
  showTraining(found.retraining);
  if (found.generation === shown.generation) return;
  if (shown.waits) await renew();
  else byId("renewed").hidden = false;
}

function again() {
  setTimeout(async () => {
    if (!document.hidden && !byId("labels").open) await inTurn(follow);
    again();
  }, AGAIN_MS);
}

async function start() {
  const facts = await told(ask(""));
  if (facts === null) return;
  showFacts(facts);
  await load(0);
  if (!start.done) again();
  start.done = true;
}

byId("actions").replaceChildren(
  ...KEYS.map(([key, action, name]) =>
    element("button", { type: "button", class: "quiet", "data-action": action, onclick: () => inTurn(ACTIONS[action]) },
      name, " ", element("kbd", { "aria-hidden": "true" }, key))),
);
byId("help-list").replaceChildren(
  ...[...KEYS.map((one) => one[3]), ...MORE_KEYS].map((line) => {
    const at = line.indexOf(": ");
    return element("div", {}, element("dt", {}, line.slice(0, at)), element("dd", {}, line.slice(at + 2)));
  }),
);
byId("kind").addEventListener("change", (event) => {
  shown.kind = event.target.value;
  inTurn(() => load(0, 0, false));
});
byId("before").addEventListener("click", () => inTurn(() => page(-1)));
byId("after").addEventListener("click", () => inTurn(() => page(1)));
byId("renew").addEventListener("click", async () => {
  await inTurn(renew);
  if (shown.items.length) mark(0);
});
byId("retrain").addEventListener("click", () => inTurn(retrain));
byId("help-button").addEventListener("click", () => byId("help").showModal());
byId("state-again").addEventListener("click", () => inTurn(shown.facts === null ? start : () => load(shown.from, shown.marked)));
byId("copy").addEventListener("click", async () => {
  await navigator.clipboard.writeText(byId("command").textContent);
  say("The command is copied.");
});

inTurn(start);
