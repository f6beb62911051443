import next from "eslint-config-next/core-web-vitals";
import typescript from "eslint-config-next/typescript";

const config = [
  { ignores: [".next/**", "node_modules/**", "next-env.d.ts", "src/api/schema.d.ts"] },
  ...next,
  ...typescript,
  { files: ["scripts/**"], rules: { "no-console": "off" } },
  {
    files: ["src/**"],
    rules: {
      "no-console": ["error", { allow: ["error", "warn"] }],
      "@typescript-eslint/consistent-type-imports": "error",
      // Mail is shown as React text nodes alone: nothing here may write HTML.
      "react/no-danger": "error",
      "no-restricted-properties": [
        "error",
        { property: "innerHTML", message: "Show text as text." },
        { property: "outerHTML", message: "Show text as text." },
        { property: "insertAdjacentHTML", message: "Show text as text." },
      ],
    },
  },
];

export default config;
