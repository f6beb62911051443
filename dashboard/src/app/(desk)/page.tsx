export default function Today() {
  return <p>today</p>;
}
