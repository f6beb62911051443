/** The list is the layout's: it stays while requests are opened beside it. */
export default function Approvals() {
  return null;
}
