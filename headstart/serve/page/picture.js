// A picture on the page: shown at once, sent in its turn, answered, taken away.

const AT_ONCE = 2;
const TOPK = 5;
const NEIGHBOURS = 6;
const waiting = [];
let underWay = 0;

class Picture {
  constructor(file, known) {
    this.file = file;
    this.name = file.name || "pasted picture";
    this.known = known;
    this.request = null;
    this.turn = 0; // which sending this is: what an earlier one still learns does not count
    this.source = URL.createObjectURL(file);
    const image = element("img", { src: this.source, alt: "", decoding: "async", loading: "lazy" });
    image.onerror = () => image.replaceWith(element("span", { class: "none" }, "No preview"));
    this.meta = element("p", { class: "small" }, bytes(file.size));
    this.body = element("div", { class: "body" });
    this.remove = element("button", { type: "button", class: "quiet", onclick: () => this.drop() }, "Remove");
    this.remove.setAttribute("aria-label", `Remove ${this.name}`);
    const title = element("h3", { tabindex: "-1" }, named(this.name));
    const top = element("div", { class: "row top" }, element("div", {}, title, this.meta), this.remove);
    this.card = element("li", { class: "picture" }, element("div", { class: "shown" }, image), top, this.body);
  }

  wait() {
    this.progress("Waiting for its turn", 0);
    waiting.push(this);
    next();
  }

  progress(text, share) {
    if (!this.bar || !this.bar.isConnected) {
      this.bar = element("progress", { max: "1", "aria-label": `Progress of ${this.name}` });
      this.told = element("span", {});
      const cancel = element("button", { type: "button", class: "quiet", onclick: () => this.cancel() }, "Cancel");
      cancel.setAttribute("aria-label", `Cancel ${this.name}`);
      this.body.replaceChildren(element("div", { class: "progress" }, this.bar, this.told, cancel));
    }
    this.told.textContent = text;
    if (share === null) this.bar.removeAttribute("value");
    else this.bar.value = share;
  }

  async send() {
    const turn = this.turn;
    const known = await this.known();
    const unread = await this.unreadable();
    if (turn !== this.turn) return;
    if (unread) {
      this.problem({ text: UNREAD, detail: "", again: false });
      return;
    }
    const most = known.limits && known.limits.body_bytes;
    if (typeof most === "number" && this.file.size > most) {
      const detail = `It has ${bytes(this.file.size)}, and the service takes ${bytes(most)} at most.`;
      this.problem({ text: PROBLEMS[413][0], detail, again: false });
      return;
    }
    const answer = await authorised(() => this.ask(known, turn));
    if (turn !== this.turn) return;
    if (answer.status === 200 && answer.body && answer.body.pictures) this.answer(answer.body.pictures[0], known);
    else this.problem(problemOf(answer));
  }

  ask(known, turn) {
    if (turn !== this.turn) throw new Cancelled();
    const query = new URLSearchParams({ topk: String(TOPK) });
    if (known.heads.some((head) => head.neighbours)) query.set("neighbours", String(NEIGHBOURS));
    this.request = service.post(this.file, query, (share) => {
      if (turn !== this.turn) return;
      if (share < 1) this.progress(`Sending, ${Math.round(100 * share)} %`, share);
      else this.progress("Sent. The heads are looking at it", null);
    });
    return this.request.answer;
  }

  // A folder that was dropped, or a file that has gone since, would look like a network that is down.
  async unreadable() {
    if (this.file.size === 0) return true;
    return this.file.slice(0, 1).arrayBuffer().then(() => false, () => true);
  }

  answer(found, known) {
    if (found.problem) {
      this.problem(problemOf({ status: found.problem.status, body: found.problem }));
      return;
    }
    this.meta.textContent = `${found.width} x ${found.height} px, ${bytes(this.file.size)}`;
    this.body.replaceChildren(element("div", { class: "heads" }, ...found.heads.map((head) => headAnswer(head, known))));
    say(`${this.name}: ${summary(found.heads)}.`);
  }

  problem({ text, detail, again }) {
    const retry = () => {
      this.remove.focus();
      this.wait();
    };
    this.body.replaceChildren(
      element("p", { class: "problem" }, text),
      detail ? element("p", { class: "small" }, named(detail)) : "",
      again ? element("button", { type: "button", class: "quiet", onclick: retry, "aria-label": `Try ${this.name} again` }, "Try again") : "",
    );
    say(`${this.name}: ${text}`);
  }

  cancel() {
    this.stop();
    this.remove.focus();
    this.problem({ text: "Cancelled.", detail: "", again: true });
  }

  stop() {
    this.turn += 1;
    const place = waiting.indexOf(this);
    if (place >= 0) waiting.splice(place, 1);
    if (this.request) this.request.cancel();
  }

  drop() {
    this.stop();
    const near = this.card.nextElementSibling || this.card.previousElementSibling;
    this.card.remove();
    URL.revokeObjectURL(this.source);
    byId("answers").hidden = near === null;
    (near ? near.querySelector("h3") : byId("choose")).focus();
  }
}

// So many pictures are under way at once: a service has others to answer.
async function next() {
  if (underWay >= AT_ONCE || !waiting.length) return;
  const picture = waiting.shift();
  underWay += 1;
  const turn = picture.turn;
  try {
    await picture.send();
  } catch (error) {
    if (!(error instanceof Gone || error instanceof Cancelled)) throw error;
    if (error instanceof Gone && turn === picture.turn) picture.problem({ text: GONE, detail: "", again: true });
  } finally {
    underWay -= 1;
    next();
  }
}
