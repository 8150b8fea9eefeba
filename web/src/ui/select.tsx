import { Icon, type IconName } from "./icon";

interface Props {
  readonly icon: IconName;
  readonly label: string;
  readonly value: string;
  readonly options: readonly (readonly [value: string, text: string])[];
  readonly choose: (value: string) => void;
}

/** The browser's own list behind an icon: it works with every keyboard, finger and screen reader. */
export function Select({ icon, label, value, options, choose }: Props) {
  return (
    <span class="tool">
      <Icon name={icon} />
      <select
        class="over"
        aria-label={label}
        title={label}
        value={value}
        onChange={(event) => choose(event.currentTarget.value)}
      >
        {options.map(([option, text]) => (
          <option key={option} value={option}>
            {text}
          </option>
        ))}
      </select>
    </span>
  );
}
