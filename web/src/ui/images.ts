/** Pixels of the longer side; models see no more, and a conversation has to fit into the browser's storage. */
const LONGEST = 1536;
/** Pictures without loss stay so if they are small: screenshots with text. */
const SMALL = 300_000;

/** A picture as a data URL, no larger than needed. Throws where the browser cannot read it. */
export async function readImage(file: Blob): Promise<string> {
  const url = URL.createObjectURL(file);
  try {
    const image = new Image();
    image.src = url;
    await image.decode();
    const scale = Math.min(1, LONGEST / Math.max(image.naturalWidth, image.naturalHeight));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(image.naturalWidth * scale));
    canvas.height = Math.max(1, Math.round(image.naturalHeight * scale));
    const context = canvas.getContext("2d");
    if (context === null) throw new Error("canvas");
    const lossless = file.type === "image/png" && file.size < SMALL;
    if (!lossless) {
      context.fillStyle = "#fff";
      context.fillRect(0, 0, canvas.width, canvas.height);
    }
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    return lossless ? canvas.toDataURL("image/png") : canvas.toDataURL("image/jpeg", 0.85);
  } finally {
    URL.revokeObjectURL(url);
  }
}
