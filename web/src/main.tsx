import { effect, untracked } from "@preact/signals";
import { render } from "preact";
import { redeem, takeToken } from "./auth/link";
import { Chat } from "./chat/chat";
import { Session } from "./chat/session";
import { loadConfig } from "./config";
import { choose, setLanguage, strings } from "./i18n";
import { Files } from "./retrieval/files";
import { device, tab } from "./storage";
import { openLibrary } from "./store/library";
import { Tabs } from "./store/tabs";
import "./styles/theme.css";
import "./styles/page.css";
import "./styles/sidebar.css";
import "./styles/chat.css";
import "./styles/markdown.css";
import { setTheme, storedTheme } from "./theme";
import { App } from "./ui/app";
import type { AppState } from "./ui/app-context";
import { Page, type Route } from "./ui/page";

async function start(root: HTMLElement): Promise<void> {
  setTheme(storedTheme());
  setLanguage(choose(device.read("language"), navigator.languages));
  const token = takeToken(location, history);
  const [config, library] = await Promise.all([loadConfig(), openLibrary()]);
  const session = new Session(config.api, tab, device, config.images);
  const tabs = new Tabs();
  const chat = new Chat(session, library, tabs, tab, device);
  const files = new Files(session, library, chat);
  const page = new Page(device);
  const state: AppState = { config, session, chat, files, page };
  addEventListener("pagehide", () => chat.leave());
  addEventListener("pageshow", ({ persisted }) => persisted && chat.returned());
  addEventListener("online", () => void session.refresh());
  document.addEventListener("visibilitychange", () => !document.hidden && void session.refresh());
  await signIn(state, tabs, token);
  await chat.start();
  effect(() => {
    const route = page.route.value;
    untracked(() => void follow(state, route));
  });
  effect(() => {
    const conversation = chat.current.value;
    untracked(() => void files.show(conversation.id));
  });
  effect(() => {
    const { title } = chat.current.value.head.value;
    document.title = title === "" ? strings.value.appName : `${title} – ${strings.value.appName}`;
  });
  render(<App state={state} />, root);
}

/** By the link, by what this tab or another one has, or by the issuer's answer; else the page asks. */
async function signIn({ config, session, page }: AppState, tabs: Tabs, token: string | null): Promise<void> {
  tabs.key = () => session.key.value;
  if (token !== null) {
    const key = await redeem(token);
    if (key !== null) return session.adopt(key);
    if (session.key.value === "") page.say(strings.value.linkUsed);
  }
  if (config.oidc !== null) {
    const oidc = await import("./auth/oidc");
    if (oidc.isAnswer(location)) {
      try {
        const { key, renewal } = await oidc.finish(config.oidc, tab, location, history);
        return session.adopt(key, renewal);
      } catch (error) {
        page.say(`${strings.value.oidcFailed} ${error instanceof Error ? error.message : ""}`);
      }
    }
  }
  if (session.key.value !== "") return void session.refresh();
  const key = await tabs.askForKey();
  if (key !== null) session.adopt(key);
}

/** The address says which conversation is open. */
async function follow({ chat, page }: AppState, route: Route): Promise<void> {
  if (route.view !== "chat") return;
  if (route.id === null) chat.fresh();
  else if (!(await chat.open(route.id))) page.go("", true);
}

const root = document.getElementById("app");
if (root !== null) void start(root);
