import { describe, expect, it } from "vitest";
import { EventParser, events, type ServerEvent } from "../src/api/sse";

function parse(...pieces: string[]): ServerEvent[] {
  const parser = new EventParser();
  return pieces.flatMap((piece) => parser.push(piece));
}

function message(data: string): ServerEvent {
  return { event: "message", data };
}

describe("EventParser", () => {
  it("gives an event at its empty line", () => {
    expect(parse("data: one\n")).toEqual([]);
    expect(parse("data: one\n\n")).toEqual([message("one")]);
    expect(parse("data: one\n\ndata: two\n\n")).toEqual([message("one"), message("two")]);
  });

  it.each(["\n", "\r\n", "\r"])("takes %j as the end of a line", (end) => {
    expect(parse(["data: one", "", "data: two", "", ""].join(end))).toEqual([message("one"), message("two")]);
  });

  it("does not care where the text is cut", () => {
    const text = "\uFEFFevent: x\r\ndata: a\r\ndata: b\r\n\r\n: ping\r\n\r\ndata:c\r\n\r\n";
    const whole = parse(text);
    expect(whole).toEqual([{ event: "x", data: "a\nb" }, message("c")]);
    expect(parse(...text)).toEqual(whole);
    for (let cut = 0; cut <= text.length; cut += 1) {
      expect(parse(text.slice(0, cut), "", text.slice(cut))).toEqual(whole);
    }
  });

  it("joins the lines of one event", () => {
    expect(parse("data: one\ndata\ndata: \ndata: two\n\n")).toEqual([message("one\n\n\ntwo")]);
  });

  it("takes away one space after the colon and no more", () => {
    expect(parse("data:  two\n\ndata:none\n\n")).toEqual([message(" two"), message("none")]);
  });

  it("passes over comments, unknown fields and events without data", () => {
    expect(parse(": ping\n\nid: 4\nretry: 1\nfoo: bar\n\nevent: lost\n\ndata: x\n\n")).toEqual([message("x")]);
  });
});

describe("events", () => {
  function body(chunks: Uint8Array[], onCancel: () => void = () => undefined): ReadableStream<Uint8Array> {
    return new ReadableStream({
      pull(controller) {
        const chunk = chunks.shift();
        if (chunk) controller.enqueue(chunk);
        else controller.close();
      },
      cancel: onCancel,
    });
  }

  it("reads characters that are cut in two", async () => {
    const bytes = new TextEncoder().encode("data: 水🌊\n\n");
    const found: ServerEvent[] = [];
    for await (const event of events(body(Array.from(bytes, (byte) => Uint8Array.of(byte))))) found.push(event);
    expect(found).toEqual([message("水🌊")]);
  });

  it("drops an event that never ended", async () => {
    const found: ServerEvent[] = [];
    for await (const event of events(body([new TextEncoder().encode("data: a\n\ndata: b\n")]))) found.push(event);
    expect(found).toEqual([message("a")]);
  });

  it("ends the request when nobody listens any more", async () => {
    let cancelled = false;
    const pieces = ["data: a\n\n", "data: b\n\n", "data: c\n\n"].map((text) => new TextEncoder().encode(text));
    for await (const event of events(body(pieces, () => (cancelled = true)))) {
      expect(event.data).toBe("a");
      break;
    }
    expect(cancelled).toBe(true);
  });
});
