#include "app/command.h"
#include "app/terminal.h"

namespace wfo::app {
namespace {

Result<int> ask(Command& command, api::Method method, std::string_view body) {
  TRY_ASSIGN(const json::Document model, command.ask(method, "/api/v1/model", body));
  if (command.json()) {
    print(model.text() + "\n");
    return kExitDone;
  }
  const auto root = model.root();
  print(fmt::format("model    {}\nas of    {}\ndeals    {} closed ones, {} left out; {} rows\n",
                    text_at(root, "modelId"), text_at(root, "asOf"), text_at(root, "deals"), text_at(root, "skipped"),
                    text_at(root, "rows")));
  Table quality({"TRIED ON", "ROWS", "AUC", "BRIER", "BRIER OF THE WIN RATE ALONE"});
  for (const auto& [key, name] : {std::pair{"byTime", "later deals"}, std::pair{"random", "a random quarter"}}) {
    if (const auto held = root.find("heldOut", key)) {
      quality.add({name, text_at(*held, "rows"), text_at(*held, "auc"), text_at(*held, "brier"),
                   text_at(*held, "brierOfRate")});
    }
  }
  print("\n" + quality.to_text());
  Table weights({"FEATURE", "COEFFICIENT", "MEAN", "SCALE"});
  if (const auto features = root.find("features")) {
    for (const json::Value feature : features->elements()) {
      weights.add({text_at(feature, "name"), text_at(feature, "coefficient"), text_at(feature, "mean"),
                   text_at(feature, "scale")});
    }
  }
  print("\n" + weights.to_text());
  return kExitDone;
}

}  // namespace

void add_model(CLI::App& app, Command& command) {
  CLI::App* const model = app.add_subcommand("model", "The tenant's risk scoring model");
  model->require_subcommand(1);

  CLI::App* const train = model->add_subcommand("train", "Learn it anew from the tenant's closed opportunities");
  auto as_of = std::make_shared<std::string>();
  train->add_option("--as-of", *as_of, "Only what was closed by that day; default: the latest of the data")
      ->type_name("DATE");
  train->callback([&command, as_of] {
    command.action = [&command, as_of]() -> Result<int> {
      std::string body;
      json::Writer out(body);
      out.begin_object();
      if (!as_of->empty()) out.key("asOf").string(*as_of);
      out.end_object();
      return ask(command, api::Method::post, body);
    };
  });

  CLI::App* const show = model->add_subcommand("show", "What it is made of, and how it did on deals it had not seen");
  show->callback([&command] { command.action = [&command] { return ask(command, api::Method::get, ""); }; });
}

}  // namespace wfo::app
