import { Tasks } from "@/tasks/tasks";

export default function Page() {
  return <Tasks />;
}
