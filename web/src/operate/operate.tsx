export function Operate() {
  return <div />;
}
