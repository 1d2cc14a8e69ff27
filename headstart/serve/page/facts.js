// What is known of the heads: how good they are, on what, of whom.

function accuracyWords({ value, low, high, rows, by }) {
  const where = by === "test" ? `${counted(rows, "test picture")}` : `${counted(rows, "picture")} by cross-validation`;
  return `${percent(value)} right (95 % interval ${percent(low)} to ${percent(high)}), of ${where}`;
}

function classesWords(classes) {
  const shown = classes.slice(0, 20);
  const rest = classes.length - shown.length;
  return `${classes.length.toLocaleString("en")}: ${shown.join(", ")}${rest ? ` and ${rest.toLocaleString("en")} more` : ""}`;
}

function factsOf(head) {
  const entries = [
    ["Accuracy", head.accuracy ? accuracyWords(head.accuracy) : "not known"],
    ...(head.without_twins ? [["Without twins", head.without_twins.sentence]] : []),
    ["Labels", classesWords(head.classes)],
    ["Learned from", head.dataset],
    ["Backbone", `${head.backbone}, ${head.image_size} px, ${head.precision}`],
    ["Shares", head.calibrated ? "calibrated: to be read as chances" : "not calibrated: only their order is to be trusted"],
    ["Licence of the weights", head.licence || "not known"],
    ["Run", head.name],
    ["Digest", head.digest],
  ];
  const rows = entries.map(([name, text]) => element("div", {}, element("dt", {}, name), element("dd", {}, named(text))));
  const caveats = head.caveats.map((text) => element("li", {}, named(text)));
  return element(
    "section",
    { class: "card" },
    element("h3", {}, named(head.title)),
    element("dl", {}, ...rows),
    caveats.length ? element("ul", { class: "warn" }, ...caveats) : null,
  );
}

function showFacts(known) {
  const coverage = known.coverage === null || known.coverage === undefined ? null : percent(known.coverage).replace(".0 %", " %");
  const sets =
    "A head is unsure where the labels that it can't rule out are none, all, or too many. Of pictures like those it " +
    `learned from, about ${coverage} have their label among those not ruled out; of other pictures nothing is known.`;
  byId("facts").replaceChildren(
    ...(coverage === null ? [] : [element("p", {}, sets)]),
    element("div", { class: "cards" }, ...known.heads.map(factsOf)),
  );
  byId("about").hidden = false;
  byId("kept").textContent = known.keeps ? " The service keeps it, with its labels." : " The service keeps nothing of it.";
  byId("version").textContent = ` ${known.version}`;
  byId("lead").textContent = leadWords(known.heads.map((head) => head.title));
}

function leadWords(titles) {
  if (titles.length === 1) return `A picture gets its label from one head: ${titles[0]}.`;
  const named = titles.length > 4 ? "." : `: ${titles.join("; ")}.`;
  return `A picture gets its labels from ${titles.length} heads, side by side${named}`;
}
