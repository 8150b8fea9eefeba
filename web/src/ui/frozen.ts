import { Component, type ComponentChildren } from "preact";

interface Props {
  /** What the children depend on. */
  readonly of: unknown;
  readonly and?: unknown;
  readonly children: () => ComponentChildren;
}

/** Draws its children again only when what they depend on is another. */
export class Frozen extends Component<Props> {
  override shouldComponentUpdate(next: Props): boolean {
    return next.of !== this.props.of || next.and !== this.props.and;
  }

  override render({ children }: Props): ComponentChildren {
    return children();
  }
}
