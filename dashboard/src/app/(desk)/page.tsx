import { Today } from "@/today/today";

export default function TodayPage() {
  return <Today />;
}
