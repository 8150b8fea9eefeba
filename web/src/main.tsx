import { render } from "preact";
import { Chat } from "./chat/chat";
import { Session } from "./chat/session";
import { loadConfig } from "./config";
import { choose, setLanguage } from "./i18n";
import { device, tab } from "./storage";
import "./styles/theme.css";
import "./styles/page.css";
import "./styles/chat.css";
import { setTheme, storedTheme } from "./theme";
import { App } from "./ui/app";

async function start(root: HTMLElement): Promise<void> {
  setTheme(storedTheme());
  setLanguage(choose(device.read("language"), navigator.languages));
  const config = await loadConfig();
  const session = new Session(config.api, tab, device);
  const chat = new Chat(session, tab);
  addEventListener("pagehide", () => chat.save());
  addEventListener("online", () => void (session.key.value && session.refresh()));
  if (session.key.value !== "") void session.refresh();
  render(<App session={session} chat={chat} />, root);
}

const root = document.getElementById("app");
if (root !== null) void start(root);
