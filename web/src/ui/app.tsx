import type { Chat } from "../chat/chat";
import type { Session } from "../chat/session";
import { Composer } from "./composer";
import { Header } from "./header";
import { KeyForm } from "./key-form";
import { Thread } from "./thread";

export function App({ session, chat }: { session: Session; chat: Chat }) {
  const signedIn = session.key.value !== "" && !session.checking.value && session.models.value !== null;
  const returning = session.key.value !== "" && !session.checking.value && session.failure.value?.kind !== "key";
  return (
    <>
      <Header session={session} chat={chat} />
      {signedIn || returning ? (
        <>
          <Thread chat={chat} />
          <Composer session={session} chat={chat} />
        </>
      ) : (
        <KeyForm session={session} />
      )}
    </>
  );
}
