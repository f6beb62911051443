import { Request } from "@/approvals/request";

export default async function RequestPage({ params }: { params: Promise<{ id: string }> }) {
  const { id } = await params;
  return <Request key={id} id={decodeURIComponent(id)} />;
}
