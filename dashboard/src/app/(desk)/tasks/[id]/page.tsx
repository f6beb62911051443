import { TaskHistory } from "@/tasks/task";

export default async function TaskPage({ params }: { params: Promise<{ id: string }> }) {
  const { id } = await params;
  return <TaskHistory key={id} id={decodeURIComponent(id)} />;
}
