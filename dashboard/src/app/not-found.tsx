import Link from "next/link";
import { Mark } from "@/shell/mark";
import { buttonLook } from "@/ui/parts";

export const metadata = { title: "Not here · AI Employee" };

export default function NotFound() {
  return (
    <main className="mx-auto flex min-h-dvh max-w-sm flex-col items-center justify-center gap-4 px-5 text-center">
      <Mark className="size-11" />
      <h1 className="text-2xl font-semibold tracking-tight">There is no such page</h1>
      <p className="text-soft">It may have been moved, or the address is not quite right.</p>
      <Link href="/" className={buttonLook("primary")}>
        Today
      </Link>
    </main>
  );
}
