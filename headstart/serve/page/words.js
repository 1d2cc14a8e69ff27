// What the page says. A problem is known by its status; the service's own words stand below ours.

const PROBLEMS = {
  400: ["The service did not understand the question.", false],
  401: ["The service asks for its token.", true],
  404: ["The service does not know that question: it may be another version.", false],
  408: ["The picture came too slowly, and the service stopped waiting.", true],
  413: ["The picture is too large for this service.", false],
  415: ["The service does not take this kind of file.", false],
  422: ["The file can't be read as a picture.", false],
  429: ["The service is busy: too many pictures are waiting.", true],
  503: ["The service is not ready yet, or is stopping.", true],
  504: ["The service took too long over the picture.", true],
};
const GONE = "The service can't be reached. Is it still running, and is the network there?";
const UNREAD = "The browser finds nothing in the file: it may be empty, a folder, or gone by now.";

function problemOf(answer) {
  const [text, again] = PROBLEMS[answer.status] || [`The service answered with an error (${answer.status}).`, answer.status >= 500];
  const wait = Number(answer.retryAfter);
  const when = again && wait > 0 ? ` Try again in ${counted(wait, "second")}.` : "";
  const detail = answer.body && typeof answer.body.detail === "string" ? answer.body.detail : "";
  return { text: text + when, detail, again };
}

function percent(share) {
  if (share > 0.9995 && share < 1) return "> 99.9 %";
  if (share > 0 && share < 0.0005) return "< 0.1 %";
  return `${(100 * share).toFixed(1)} %`;
}

function counted(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

function bytes(count) {
  if (count < 1000) return counted(count, "byte");
  return count < 1e6 ? `${(count / 1e3).toFixed(0)} KB` : `${(count / 1e6).toFixed(1)} MB`;
}

function listed(names, last) {
  if (names.length < 2) return names.join("");
  return `${names.slice(0, -1).join(", ")} ${last} ${names[names.length - 1]}`;
}

// What a conformal set tells of a head that is unsure.
function unsureWords(set, classes) {
  if (!set.length) return "none of its labels fits well";
  if (set.length > 5) return set.length === classes ? "it could be any of its labels" : `it could be any of ${set.length} labels`;
  return `it could be ${listed(set, "or")}`;
}

// One line for a screen reader: what a picture got, in the words of most heads.
function summary(heads) {
  const first = heads.map((head) => head.labels[0]);
  if (heads.length === 1) {
    const doubt = heads[0].unsure ? ", but it is unsure" : "";
    return `${first[0].label}, ${percent(first[0].share)}${doubt}`;
  }
  const votes = new Map();
  for (const { label } of first) votes.set(label, (votes.get(label) || 0) + 1);
  const [label, count] = [...votes].reduce((best, one) => (one[1] > best[1] ? one : best));
  return count === heads.length ? `${label}, say all ${count} heads` : `${label}, say ${count} of ${heads.length} heads`;
}
