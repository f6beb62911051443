import { ConflictPage } from "@/sync/conflict";

export default async function Page({ params }: { params: Promise<{ id: string }> }) {
  const { id } = await params;
  return <ConflictPage key={id} id={decodeURIComponent(id)} />;
}
