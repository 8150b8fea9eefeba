import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { Chat } from "../chat/chat";
import type { Session } from "../chat/session";
import type { Config } from "../config";
import type { Files } from "../retrieval/files";
import type { Page } from "./page";

/** What every part of the page may use. */
export interface AppState {
  readonly config: Config;
  readonly session: Session;
  readonly chat: Chat;
  readonly files: Files;
  readonly page: Page;
}

export const AppContext = createContext<AppState | null>(null);

export function useApp(): AppState {
  const state = useContext(AppContext);
  if (state === null) throw new Error("outside of the page");
  return state;
}
