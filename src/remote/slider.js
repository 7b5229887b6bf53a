// One slider: a native range input under a line with its name and value.
//
// It never fights a finger: while it is held, what the rig reports is remembered and shown afterwards.

const DRAG_PX_MIN = 4;

export class Slider {
  element = document.createElement("label");
  #input = document.createElement("input");
  #output = document.createElement("output");
  #scale;
  #format;
  #reported;
  #pointers = new Set();
  #sendValue;
  #undecided = false; // a finger is down, and may yet turn out to scroll the page

  /** `send(value)` is called with every value that is meant. */
  constructor({ name, label, testid, scale, format, send, mark }) {
    this.#scale = scale;
    this.#format = format;
    this.#sendValue = send;
    const title = document.createElement("span");
    title.textContent = name;
    this.#output.ariaLive = "off"; // the range speaks for itself
    this.#input.type = "range";
    this.#input.min = scale.min;
    this.#input.max = scale.max;
    this.#input.step = scale.step;
    this.#input.dataset.testid = testid;
    this.#input.ariaLabel = label;
    this.element.className = "slider";
    if (mark !== undefined) {
      this.element.classList.add("marked");
      this.element.style.setProperty("--mark", this.#share(scale.toPosition(mark)));
    }
    this.element.append(title, this.#output, this.#input);

    this.#input.addEventListener("input", () => {
      if (!this.#undecided) this.#send();
    });
    this.#input.addEventListener("pointerdown", (event) => this.#hold(event));
  }

  /** The value as the rig has it, or will have it. */
  show(value) {
    this.#reported = value;
    this.#catchUp();
  }

  #send() {
    const value = this.#scale.toValue(this.#input.valueAsNumber);
    this.#describe(value);
    this.#reported = value;
    this.#sendValue(value);
  }

  /** Until the pointer is gone the slider is the person's. */
  #hold({ pointerId, pointerType, clientX }) {
    const before = this.#input.value;
    const listening = new AbortController();
    const listen = (type, listener) => {
      const mine = (event) => event.pointerId === pointerId && listener(event);
      addEventListener(type, mine, { capture: true, signal: listening.signal });
    };
    const decide = () => {
      if (!this.#undecided) return;
      this.#undecided = false;
      if (this.#input.value !== before) this.#send();
    };
    const release = () => {
      listening.abort();
      this.#undecided = false;
      this.#pointers.delete(pointerId);
      this.element.classList.toggle("held", this.#pointers.size > 0);
      this.#catchUp();
    };
    this.#pointers.add(pointerId);
    this.element.classList.add("held");
    // A browser moves the thumb as soon as a finger lands. If that finger then scrolls the page
    // (pointercancel), nothing was meant and nothing has been sent.
    this.#undecided = pointerType === "touch";
    listen("pointermove", (event) => Math.abs(event.clientX - clientX) > DRAG_PX_MIN && decide());
    listen("pointerup", () => {
      decide();
      release();
    });
    listen("pointercancel", release);
  }

  #catchUp() {
    if (this.#pointers.size > 0 || this.#reported === undefined) return;
    this.#input.value = this.#scale.toPosition(this.#reported);
    this.#describe(this.#reported);
  }

  #describe(value) {
    const text = this.#format(value);
    this.#output.value = text;
    this.#input.ariaValueText = text;
    this.#input.dataset.value = value;
    this.element.style.setProperty("--share", this.#share(this.#input.valueAsNumber));
  }

  #share(position) {
    const { min, max } = this.#scale;
    return Math.min(1, Math.max(0, (position - min) / (max - min)));
  }
}
