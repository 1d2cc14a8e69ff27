// Decisions: sent with the state that was seen, shown once they are kept.

let last = Promise.resolve();

// One after the other: the next key counts for the picture that is marked then.
function inTurn(work) {
  last = last.then(work).catch((error) => {
    setTimeout(() => {
      throw error;
    });
  });
  return last;
}

async function send(item, action, label = "") {
  shown.waits = false;
  const { picture, version } = item.standing;
  let answer;
  try {
    answer = await tell("/decisions", { picture, action, label, version });
  } catch (error) {
    if (!(error instanceof Gone)) throw error;
    complain(GONE);
    return false;
  }
  if (answer.status === 409 && answer.body && answer.body.standing) {
    const now = decided(answer.body.standing) || "no decision";
    stand(answer.body.standing, `Somebody else decided: ${now}. Yours was not kept; press again to decide anyway.`);
    say(`Not kept. Somebody else decided meanwhile: ${now}.`);
    return false;
  }
  if (answer.status !== 200) {
    complain(problemOf(answer));
    say(problemOf(answer));
    return false;
  }
  byId("state").hidden = true;
  stand(answer.body.standing);
  if (action === "undo") say(`Undone. ${decided(answer.body.standing) || "No decision"}.`);
  else shown.mine.push(answer.body.standing);
  if (action !== "undo") say(`${decided(answer.body.standing)}.`);
  return true;
}

async function decide(action, label = "") {
  const item = markedItem();
  if (item === null) return;
  if (action === "keep" && item.given.length !== 1) {
    say("There is no one label to keep: give it one.");
    await chooseLabel();
    return;
  }
  const same = action === "label" && item.given.length === 1 && item.given[0] === label;
  if (await send(item, same ? "keep" : action, same ? "" : label)) await move(1);
}

async function accept() {
  const item = markedItem();
  if (item === null) return;
  if (item.action === null) await chooseLabel();
  else await decide(item.action, item.label);
}

// The last decision of this page that still stands: its picture is shown where it is in this part.
async function undo() {
  const mine = shown.mine.pop();
  if (mine === undefined) {
    say("There is nothing of yours to undo.");
    return;
  }
  if (!(await send({ standing: mine }, "undo"))) return;
  const place = shown.items.findIndex((item) => item.standing.picture === mine.picture);
  if (place >= 0) mark(place);
}

async function undoMarked() {
  const item = markedItem();
  if (item === null || item.standing.action === null) return;
  if (await send(item, "undo")) shown.mine = shown.mine.filter((one) => one.picture !== item.standing.picture);
}

const ACTIONS = {
  accept,
  keep: () => decide("keep"),
  other: () => chooseLabel(),
  unsure: () => decide("unsure"),
  remove: () => decide("remove"),
  undo,
};
