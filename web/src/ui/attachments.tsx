import { useState } from "preact/hooks";
import { useSignal } from "@preact/signals";
import { strings } from "../i18n";
import type { Problem, Reading } from "../retrieval/files";
import { useApp } from "./app-context";
import { pickFiles } from "./clipboard";
import { Icon } from "./icon";
import { readImage } from "./images";
import type { Item } from "./menu";
import { failureTitle } from "./notice";

const TEXTS =
  "text/*,.txt,.md,.markdown,.csv,.tsv,.json,.yaml,.yml,.toml,.xml,.html,.css,.js,.ts,.tsx,.jsx,.py,.rs,.go,.java,.kt," +
  ".c,.h,.cpp,.cs,.rb,.php,.sh,.sql,.tex,.rst,.log,.ini,.conf";

export interface Attached {
  readonly images: readonly string[];
  readonly reading: boolean;
  readonly over: boolean;
  readonly choices: readonly Item[];
  readonly dropping: Record<string, (event: DragEvent) => void>;
  readonly onPaste: (event: ClipboardEvent) => void;
  /** The images, which are the message's from then on. */
  readonly take: () => string[];
  readonly removeImage: (index: number) => void;
}

export function useAttachments(): Attached {
  const t = strings.value;
  const { session, chat, files, page } = useApp();
  const images = useSignal<readonly string[]>([]);
  const [reading, setReading] = useState(0);
  const [over, setOver] = useState(false);
  const model = session.modelNamed(chat.current.value.head.value.model);
  const sees = model?.takesImages ?? false;

  async function addImages(list: readonly File[]): Promise<void> {
    if (!sees) return page.say(t.imagesNotTaken);
    setReading((count) => count + 1);
    for (const file of list) {
      try {
        images.value = [...images.value, await readImage(file)];
      } catch {
        page.say(t.imageUnreadable);
      }
    }
    setReading((count) => count - 1);
  }

  function add(list: readonly File[]): void {
    const pictures = list.filter(isImage);
    const texts = list.filter((file) => !isImage(file));
    if (pictures.length > 0) void addImages(pictures);
    if (texts.length === 0) return;
    if (files.embedder === null) page.say(t.filesNotTaken);
    else void files.add(texts);
  }

  return {
    images: images.value,
    reading: reading > 0,
    over,
    choices: [
      {
        label: t.attachImages,
        icon: "image",
        disabled: !sees,
        detail: sees ? undefined : <span class="entry-detail">{t.imagesNotTaken}</span>,
        run: () => pickFiles("image/*", add),
      },
      {
        label: t.attachFiles,
        icon: "file",
        disabled: files.embedder === null,
        detail: files.embedder === null ? <span class="entry-detail">{t.filesNotTaken}</span> : undefined,
        run: () => pickFiles(TEXTS, add),
      },
    ],
    dropping: {
      onDragOver: (event) => {
        event.preventDefault();
        setOver(true);
      },
      onDragLeave: () => setOver(false),
      onDrop: (event) => {
        event.preventDefault();
        setOver(false);
        add([...(event.dataTransfer?.files ?? [])]);
      },
    },
    onPaste: (event) => {
      const pasted = [...(event.clipboardData?.files ?? [])];
      if (pasted.length === 0) return;
      event.preventDefault();
      add(pasted);
    },
    take: () => {
      const taken = [...images.value];
      images.value = [];
      return taken;
    },
    removeImage: (index) => (images.value = images.value.filter((_, at) => at !== index)),
  };
}

function isImage(file: File): boolean {
  return file.type.startsWith("image/") && file.type !== "image/svg+xml";
}

export function Attachments({ attached }: { attached: Attached }) {
  const t = strings.value;
  const { files, chat } = useApp();
  const readings = files.readings.value.filter(({ conversation }) => conversation === chat.current.value.id);
  const documents = files.documents.value;
  if (attached.images.length + documents.length + readings.length === 0) return null;
  return (
    <ul class="attachments" aria-label={t.filesTitle}>
      {attached.images.map((url, index) => (
        <li key={index} class="thumb">
          <img src={url} alt={t.image(index + 1)} />
          <Remove name={t.image(index + 1)} run={() => attached.removeImage(index)} />
        </li>
      ))}
      {documents.map((document) => (
        <li key={document.id} class="chip">
          <Icon name="file" />
          <span class="chip-name">{document.name}</span>
          <Remove name={document.name} run={() => void files.remove(document.id)} />
        </li>
      ))}
      {readings.map((reading) => (
        <ReadingChip key={reading.id} reading={reading} />
      ))}
    </ul>
  );
}

function ReadingChip({ reading }: { reading: Reading }) {
  const t = strings.value;
  const { files } = useApp();
  const { file, problem } = reading;
  return (
    <li class={problem === null ? "chip" : "chip wrong"}>
      {problem === null ? <span class="pulse" aria-hidden="true" /> : <Icon name="file" />}
      <span class="chip-name">{problem === null ? file.name : words(problem, file.name)}</span>
      {problem === null && reading.all > 0 && <span class="quiet">{t.fileReading(reading.done, reading.all)}</span>}
      {problem !== null && typeof problem === "object" && (
        <button type="button" class="text-button" onClick={() => void files.retry(reading)}>
          {t.retry}
        </button>
      )}
      <Remove name={file.name} run={() => void files.remove(reading.id)} />
    </li>
  );
}

function words(problem: Problem, name: string): string {
  const t = strings.value;
  switch (problem) {
    case "notText":
      return t.fileNotText(name);
    case "tooLarge":
      return t.fileTooLarge(name);
    case "empty":
      return t.fileEmpty(name);
    case "noModel":
      return t.filesNotTaken;
    default:
      return `${name}: ${failureTitle(problem)}`;
  }
}

function Remove({ name, run }: { name: string; run: () => void }) {
  const label = strings.value.removeItem(name);
  return (
    <button type="button" class="small-tool" onClick={run} title={label} aria-label={label}>
      <Icon name="close" />
    </button>
  );
}
