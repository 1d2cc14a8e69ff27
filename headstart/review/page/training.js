// Retraining: started by anybody, seen by all.

let seen = 0;

async function retrain() {
  shown.waits = true; // for the new order, unless more is decided before it is there
  const found = await told(tell("/retrain", {}));
  if (found !== null) showTraining(found.retraining);
}

function showTraining(now) {
  const running = now.state === "running";
  byId("retrain").disabled = running;
  byId("training-progress").hidden = !running;
  byId("training-progress").value = now.done / now.steps;
  byId("training-text").textContent = running ? trainingFor(now) : "";
  if (now.state === "failed") byId("training-text").textContent = now.error;
  if (now.comparison !== null) showScores(now.comparison);
  else if (now.state === "done") byId("training-text").textContent = "Trained. No picture with a label is left to test on.";
  if (now.number > seen && !running && now.number > 0) {
    seen = now.number;
    say(now.state === "failed" ? now.error : "Trained. " + byId("scores").textContent);
  }
}

function trainingFor({ done, steps, seconds }) {
  return `Training on the corrected labels… step ${Math.min(done + 1, steps)} of ${steps}, ${number(seconds)} s`;
}

function showScores(found) {
  const line = (name, score) => [element("dt", {}, name), element("dd", {}, score === null ? "there were no labels to learn from" : scored(score))];
  const what = `${counted(found.after.pictures, "picture")}, by ${found.by}, against the labels as they are corrected; ` +
    `${counted(found.decisions, "decision")}, ${found.seconds.toFixed(1)} s.`;
  byId("scores").replaceChildren(
    element("dl", {}, ...line("Before", found.before), ...line("After", found.after)),
    element("p", { class: "small" }, what),
  );
  byId("scores").hidden = false;
}
