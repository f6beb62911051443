import { ClaimsPage } from "@/claims/claims";

export default function Page() {
  return <ClaimsPage />;
}
