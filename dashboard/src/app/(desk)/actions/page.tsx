import { Actions } from "@/actions/actions";

export default function Page() {
  return <Actions />;
}
