import { useEffect } from "preact/hooks";
import { strings } from "../i18n";
import { AppContext, type AppState } from "./app-context";
import { Composer } from "./composer";
import { Header } from "./header";
import { later } from "./later";
import { Notes } from "./notes";
import { SettingsDialog } from "./settings";
import { listen } from "./shortcuts";
import { ShortcutsDialog } from "./shortcuts-dialog";
import { Sidebar } from "./sidebar";
import { SignIn } from "./sign-in";
import { SignOutDialog } from "./sign-out";
import { Thread } from "./thread";

const operate = later(async () => (await import("../operate/operate")).Operate);

export function App({ state }: { state: AppState }) {
  const { key, checking } = state.session;
  return (
    <AppContext.Provider value={state}>
      {key.value === "" || checking.value ? <SignIn /> : <SignedIn state={state} />}
      <Notes />
    </AppContext.Provider>
  );
}

function SignedIn({ state }: { state: AppState }) {
  const { page, chat } = state;
  useEffect(() => listen(state), [state]);
  const dialog = page.dialog.value;
  // A dialog tells a moment later that it was closed: by then another one may be open.
  const close = (): void => {
    if (page.dialog.value === dialog) page.dialog.value = null;
  };
  const Operate = page.route.value.view === "operate" ? operate.use() : null;
  return (
    <div class={page.sidebar.value ? "app with-sidebar" : "app"}>
      <Sidebar />
      {page.sidebar.value && <div class="veil" onClick={() => page.toggleSidebar(false)} />}
      <div class="main">
        <Header />
        {page.route.value.view === "operate" ? (
          <main class="scroller" aria-label={strings.value.operate}>
            {Operate && <Operate />}
          </main>
        ) : (
          <ChatView key={chat.current.value.id} />
        )}
      </div>
      {dialog === "settings" && <SettingsDialog close={close} />}
      {dialog === "shortcuts" && <ShortcutsDialog close={close} />}
      {dialog === "sign-out" && <SignOutDialog close={close} />}
    </div>
  );
}

function ChatView() {
  return (
    <>
      <Thread />
      <Composer />
    </>
  );
}
