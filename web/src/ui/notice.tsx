import type { ComponentChildren } from "preact";
import type { Failure, FailureKind } from "../api/failure";
import { type Strings } from "../i18n/en";
import { strings } from "../i18n";
import { useNow } from "./now";

const TITLES: Record<FailureKind, keyof Strings & `failure${string}`> = {
  key: "failureKey",
  forbidden: "failureForbidden",
  limit: "failureLimit",
  overloaded: "failureOverloaded",
  request: "failureRequest",
  server: "failureServer",
  offline: "failureOffline",
  interrupted: "failureInterrupted",
};

interface Props {
  readonly failure: Failure;
  readonly retry?: (() => void) | undefined;
  readonly children?: ComponentChildren;
}

export function failureTitle({ kind }: Failure): string {
  return strings.value[TITLES[kind]];
}

/** What went wrong, in plain words, with the server's own below; and the way on, once it is open. */
export function Notice({ failure, retry, children }: Props) {
  const t = strings.value;
  const counting = retry !== undefined && failure.retryAt !== null;
  const now = useNow(counting);
  const left = failure.retryAt === null ? 0 : Math.max(0, Math.ceil((failure.retryAt - now) / 1000));
  return (
    <div class="notice" role="alert">
      <p class="notice-title">{failureTitle(failure)}</p>
      {failure.detail !== "" && <p class="notice-detail">{failure.detail}</p>}
      {(retry || children) && (
        <div class="notice-actions">
          {retry && (
            <button type="button" class="secondary" onClick={retry} disabled={left > 0}>
              {left > 0 ? t.retryIn(left) : t.retry}
            </button>
          )}
          {children}
        </div>
      )}
    </div>
  );
}
