// Another extension, as the editor's language models see it: asks what is there and writes what it got into the workspace.
const { renameSync, writeFileSync } = require('node:fs');
const { join } = require('node:path');
const vscode = require('vscode');

async function said(model, messages, token) {
  const response = await model.sendRequest(messages, { justification: 'a test' }, token);
  let text = '';
  for await (const part of response.text) text += part;
  return text;
}

async function attempt(action) {
  try {
    return await action();
  } catch (error) {
    return { error: error.message };
  }
}

async function report() {
  const { User, Assistant } = vscode.LanguageModelChatMessage;
  const before = await vscode.lm.selectChatModels({ vendor: 'flan' });
  const [automatic] = before;
  const { token } = new vscode.CancellationTokenSource();
  const question = 'Summarize: Every snapshot is compressed before it is uploaded.';
  const answer = await attempt(() => said(automatic, [User(question)], token));
  // The list grows once the server runs.
  let all = [];
  for (let i = 0; i < 300 && all.length < 2; i++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    all = await vscode.lm.selectChatModels({ vendor: 'flan' });
  }
  const describe = ({ id, name, family, version, maxInputTokens, capabilities }) => ({
    id,
    name,
    family,
    version,
    maxInputTokens,
    capabilities,
  });
  const stopping = new vscode.CancellationTokenSource();
  setTimeout(() => stopping.cancel(), 50);
  return {
    before: before.map(describe),
    all: all.map(describe),
    answer,
    tokens: await attempt(() => automatic.countTokens(question)),
    none: await attempt(() => automatic.countTokens('')),
    conversation: await attempt(() =>
      said(automatic, [User('What is 1?'), Assistant('A number.'), User('And 2?')], token),
    ),
    long: await attempt(() => said(automatic, [User('word '.repeat(5000))], token)),
    stopped: await attempt(() => said(automatic, [User('1 2 3 4 5 6 7 8 9 10 11 12 13 14 15')], stopping.token)),
  };
}

exports.activate = (context) => {
  context.subscriptions.push(
    vscode.commands.registerCommand('tests.askModels', async () => {
      const result = await attempt(report);
      const file = join(vscode.workspace.workspaceFolders[0].uri.fsPath, 'models.json');
      writeFileSync(`${file}.partial`, JSON.stringify(result));
      renameSync(`${file}.partial`, file);
    }),
  );
};
