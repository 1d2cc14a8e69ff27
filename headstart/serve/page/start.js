// The heads are asked for once; pictures come by drop, paste, choice or camera.

let heads = null;

// What there is to know of the heads: asked until it is known, and by the button again after a problem.
function known() {
  if (heads === null) heads = askHeads();
  return heads;
}

async function askHeads() {
  for (;;) {
    let answer = null;
    try {
      answer = await authorised(() => service.get("v1/heads"));
    } catch (error) {
      if (!(error instanceof Gone)) throw error;
    }
    if (answer !== null && answer.status === 200 && answer.body) {
      byId("state").hidden = true;
      showFacts(answer.body);
      return answer.body;
    }
    await tryAgain(answer === null ? GONE : problemOf(answer).text);
  }
}

function tryAgain(text) {
  byId("state-text").textContent = text;
  byId("state").hidden = false;
  byId("lead").textContent = "The heads are not known yet.";
  say(text);
  return new Promise((resolve) => {
    byId("state-again").onclick = resolve;
  });
}

function take(files) {
  const found = [...files];
  byId("hint").textContent = found.length ? "" : "There is no picture file in that.";
  if (!found.length) return;
  const pictures = found.map((file) => new Picture(file, known));
  byId("answers").hidden = false;
  byId("list").prepend(...pictures.map(({ card }) => card));
  if (found.length > 1) say(`${counted(found.length, "picture")} taken.`);
  for (const picture of pictures) {
    picture.card.picture = picture;
    picture.wait();
  }
}

for (const id of ["choose", "photograph"]) {
  byId(id).addEventListener("change", (event) => {
    take(event.target.files);
    event.target.value = ""; // the same file may be chosen again
  });
}

document.addEventListener("paste", (event) => {
  if (event.target instanceof HTMLInputElement && event.target.type === "password") return;
  if (event.clipboardData.files.length) event.preventDefault();
  take(event.clipboardData.files);
});

// The whole page takes what is dropped: a browser would leave the page and show the file.
const mark = (on) => document.body.classList.toggle("dragging", on);
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  mark(true);
});
document.addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) mark(false);
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  mark(false);
  take(event.dataTransfer.files);
});

byId("clear").addEventListener("click", () => {
  for (const card of [...byId("list").children]) card.picture.drop();
  byId("choose").focus();
});

known();
