// What the page says.

const KEYS = [
  ["a", "accept", "Accept", "a or Enter: accept what is proposed"],
  ["k", "keep", "Keep", "k or Space: the label is right"],
  ["l", "other", "Other label", "l: another label, also a new one"],
  ["n", "unsure", "Not sure", "n: not sure"],
  ["x", "remove", "Remove", "x or Delete: leave the picture out"],
  ["u", "undo", "Undo", "u: undo your last decision; U (Shift): that of the marked picture"],
];
const MORE_KEYS = [
  "← → ↑ ↓, or h j: move; Home and End: first and last of the page; Page Up and Page Down: another page",
  "1 to 9: the label with that number",
  "r: retrain",
  "?: this list",
];
const WHY = {
  "wrong label": "Label may be wrong",
  "conflicting labels": "Copies with other labels",
  "near-duplicate": "Nearly the same as",
  outlier: "Unlike all others",
  "no label": "",
  "the rest": "",
  decided: "",
};
// With the picture that it is like.
const LIKE = { "near-duplicate": "Nearly the same as", "conflicting labels": "The same picture with another label:" };
const KINDS = {
  "": "everything",
  "wrong label": "wrong labels",
  "conflicting labels": "conflicting labels",
  "near-duplicate": "near-duplicates",
  outlier: "outliers",
  "no label": "without a label",
  "the rest": "the rest, the least sure first",
  decided: "decided before",
};
const GONE = "The service can't be reached. Is it still running? Nothing that it confirmed is lost.";

const number = (value) => value.toLocaleString("en");
const counted = (count, name) => `${number(count)} ${name}${count === 1 ? "" : "s"}`;
const percent = (share) => `${(100 * share).toFixed(1)} %`;

function decided(standing) {
  if (standing.action === null) return "";
  if (standing.action === "label") return `Label: ${standing.label}`;
  return { keep: "Label kept", unsure: "Not sure", remove: "Left out" }[standing.action];
}

function scored(score) {
  return `${percent(score.accuracy)} (95 % interval ${percent(score.low)} to ${percent(score.high)})`;
}

function problemOf(answer) {
  const detail = answer.body && typeof answer.body.detail === "string" ? answer.body.detail : `status ${answer.status}`;
  return `The service did not do that: ${detail}`;
}
