// The service: heads, pictures, thumbnails. A token is held here and nowhere else.

class Gone extends Error {}
class Cancelled extends Error {}

const service = {
  token: null,
  tokenAsked: null,
  thumbnails: new Map(),

  // Below the page's own address, so that a proxy may have it under a path.
  address(path) {
    return new URL(path.replace(/^\/+/, ""), document.baseURI).href;
  },

  headers(more = {}) {
    return this.token === null ? more : { ...more, Authorization: `Bearer ${this.token}` };
  },

  async get(path) {
    let answer;
    try {
      answer = await fetch(this.address(path), { headers: this.headers(), cache: "no-store" });
    } catch {
      throw new Gone();
    }
    const body = await answer.json().catch(() => null);
    return { status: answer.status, body, retryAfter: answer.headers.get("Retry-After") };
  },

  // A picture's bytes. `told` hears which part of them is sent. XMLHttpRequest, since fetch does not say that.
  post(file, query, told) {
    const request = new XMLHttpRequest();
    const answer = new Promise((resolve, reject) => {
      request.open("POST", `${this.address("v1/predict")}?${query}`);
      const kind = /^image\/[\w.+-]+$/.test(file.type) ? file.type : "application/octet-stream";
      for (const [name, value] of Object.entries(this.headers({ "Content-Type": kind }))) request.setRequestHeader(name, value);
      request.upload.onprogress = (event) => told(event.lengthComputable ? event.loaded / event.total : 0);
      request.upload.onload = () => told(1);
      request.onerror = () => reject(new Gone());
      request.onabort = () => reject(new Cancelled());
      request.onload = () => {
        let body = null;
        try {
          body = JSON.parse(request.responseText);
        } catch {
          // a proxy's page perhaps: the status says what there is to say
        }
        resolve({ status: request.status, body, retryAfter: request.getResponseHeader("Retry-After") });
      };
      request.send(file);
    });
    return { answer, cancel: () => request.abort() };
  },

  // The address of a training picture, or null where there is none by now. Not <img src>: that carries no token.
  thumbnail(path) {
    if (!this.thumbnails.has(path)) {
      const found = fetch(this.address(path), { headers: this.headers() })
        .then((answer) => (answer.ok ? answer.blob() : null))
        .then((blob) => (blob === null ? null : URL.createObjectURL(blob)))
        .catch(() => null);
      this.thumbnails.set(path, found);
      found.then((source) => source === null && this.thumbnails.delete(path));
    }
    return this.thumbnails.get(path);
  },

  // Ask for the token once, however many requests need it.
  askToken(wrong) {
    if (this.tokenAsked === null) {
      this.tokenAsked = new Promise((resolve) => {
        const form = byId("token-form");
        byId("token-wrong").textContent = wrong ? "The service does not know this token." : "";
        form.hidden = false;
        byId("token").focus();
        if (!wrong) say("The service asks for its token.");
        form.onsubmit = (event) => {
          event.preventDefault();
          this.token = byId("token").value.trim();
          byId("token").value = "";
          form.hidden = true;
          this.tokenAsked = null;
          resolve();
        };
      });
    }
    return this.tokenAsked;
  },
};

// The answer to a question; as often as it takes, the token is asked for first.
async function authorised(ask) {
  for (;;) {
    const token = service.token;
    const answer = await ask();
    if (answer.status !== 401) return answer;
    if (service.token === token) await service.askToken(token !== null);
  }
}
