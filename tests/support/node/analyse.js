"use strict";
// Microsoft's KQL analyser behind JSON lines: a request on stdin, its answer on stdout.
//   {"define": 1, "tables": {"T": [["Column", "type"]]}, "functions": [".create-or-alter function …", ["name", "(a:long)", "{ … }"]]}
//   {"check": 1, "text": "T | take 5"}
// It reports what the analyser says and what the analyser skips in silence. JSON inside commands is handed back for the caller to judge.

const path = require("node:path");
const readline = require("node:readline");

const service = path.join(process.argv[2], "@kusto", "language-service-next");
require(path.join(service, "bridge.min.js"));
require(path.join(service, "Kusto.Language.Bridge.min.js"));

const { GlobalState, KustoCode, Symbols, Syntax } = Kusto.Language;
const kindNames = Object.fromEntries(Object.entries(Syntax.SyntaxKind).map(([name, number]) => [number, name]));
const schemas = new Map();
const declarations = new Map();

function* each(collection) {
  const enumerator = Bridge.getEnumerator(collection);
  while (enumerator.moveNext()) yield enumerator.Current;
}

function* nodes(node) {
  yield node;
  for (let i = 0; i < node.ChildCount; i++) {
    const child = node.GetChild(i);
    if (child) yield* nodes(child);
  }
}

const kindOf = (node) => kindNames[node.Kind];
const textOf = (node, text) => text.substring(node.TextStart, node.End);

function table(name, columns) {
  const symbols = columns.map(([column, type]) => {
    const symbol = Symbols.ScalarTypes.GetSymbol(type);
    if (!symbol) throw new Error(`column ${name}.${column} has the type '${type}', which Kusto does not know`);
    return new Symbols.ColumnSymbol(column, symbol);
  });
  return new Symbols.TableSymbol.$ctor4(name, symbols);
}

// The analyser takes a function as name, parameters and body; its own parser cuts a declaration into the three.
function declared(text) {
  if (!declarations.has(text)) {
    const parts = {};
    for (const node of nodes(KustoCode.Parse(text, GlobalState.Default).Syntax)) {
      if (node.NameInParent === "FunctionName") parts.name ??= node.SimpleName;
      if (kindOf(node) === "FunctionParameters") parts.parameters ??= textOf(node, text);
      if (kindOf(node) === "FunctionBody") parts.body ??= textOf(node, text);
    }
    if (!parts.name || !parts.parameters || !parts.body) {
      throw new Error(`not a function declaration: ${text.trim().split("\n")[0]}`);
    }
    declarations.set(text, [parts.name, parts.parameters, parts.body]);
  }
  return declarations.get(text);
}

function define({ define: id, tables, functions }) {
  const members = Object.entries(tables).map(([name, columns]) => table(name, columns));
  for (const declaration of functions) {
    const [name, parameters, body] = typeof declaration === "string" ? declared(declaration) : declaration;
    members.push(new Symbols.FunctionSymbol.$ctor16(name, parameters, body, null));
  }
  const database = new Symbols.DatabaseSymbol.ctor("Database", members);
  const cluster = new Symbols.ClusterSymbol.ctor("cluster", [database]);
  schemas.set(id, GlobalState.Default.WithCluster(cluster).WithDatabase(database).WithCache());
  return {};
}

function diagnostics(code, text) {
  const found = [...each(code.GetDiagnostics())].map((said) => ({
    message: said.Message, code: said.Code, severity: said.Severity, start: said.Start, length: said.Length,
  }));
  const add = (node, code, message) =>
    found.push({ message, code, severity: "Error", start: node.TextStart, length: node.End - node.TextStart });
  // What the analyser complains about itself, it also skips: only silence needs the second look.
  const silent = !found.length;
  for (const node of nodes(code.Syntax)) {
    if (kindOf(node) === "UnknownCommand") {
      add(node, "UnknownCommand", `Kusto has no such command: ${textOf(node, text).split("\n")[0]}`);
    }
    if (kindOf(node) === "SkippedTokens" && silent) {
      add(node, "SkippedText", "The analyser skips this text: it does not belong to the command or query before it.");
    }
  }
  if (!code.Syntax.Statements.Count) add(code.Syntax, "NoStatement", "There is no query and no command here.");
  return found;
}

function documents(code, text) {
  const found = [];
  let tableName = null;
  let format = null;
  for (const node of nodes(code.Syntax)) {
    const role = node.NameInParent ?? "";
    if (role === "TableName") tableName ??= node.SimpleName;
    if (role === "MappingKind") format ??= node.Text;
    if (kindOf(node) !== "StringLiteralExpression") continue;
    const kind = role === "MappingFormat" ? "mapping" : role.endsWith("Policy") ? "policy" : null;
    if (!kind) continue;
    // Where the literal has no escapes, a position in its value is a position in the text.
    const inside = textOf(node, text).indexOf(node.LiteralValue);
    const start = node.TextStart + Math.max(inside, 0);
    found.push({ kind, table: tableName, format, text: node.LiteralValue, start, exact: inside >= 0 });
  }
  return found;
}

function check({ check: id, text }) {
  const code = KustoCode.ParseAndAnalyze(text, schemas.get(id));
  const columns = code.ResultType?.Columns;
  return {
    diagnostics: diagnostics(code, text),
    documents: documents(code, text),
    columns: columns ? [...each(columns)].map((column) => [column.Name, column.Type.Name]) : null,
  };
}

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  let answer;
  try {
    const request = JSON.parse(line);
    answer = "define" in request ? define(request) : check(request);
  } catch (error) {
    answer = { error: error.message ?? String(error) };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
});
