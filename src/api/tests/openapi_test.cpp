#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/tests/installation.h"
#include "bus/topic.h"

namespace wfo::api {
namespace {

using testing::HasSubstr;

class OpenApiTest : public Installation {
 protected:
  /// What of the router is public: routes for the local socket alone are between this program and itself.
  std::vector<Router::Listing> routes() const {
    auto all = router_.routes();
    std::erase_if(all, [](const Router::Listing& route) { return route.local_only; });
    return all;
  }
  static std::string operation(const Router::Listing& route) {
    return fmt::format("{} {}", name(route.method), route.pattern);
  }
  static std::string filled(std::string_view pattern) {
    std::string target(pattern);
    for (const auto& [parameter, value] :
         {std::pair<std::string_view, std::string_view>{"{id}", "01956a3e-7d2c-7c1b-9f0e-5b2f1d8a4c11"},
          {"{name}", "nightly"},
          {"{job}", "outcome-sync"}}) {
      if (const auto place = target.find(parameter); place != std::string::npos) {
        target.replace(place, parameter.size(), value);
      }
    }
    return target;
  }
  static bool is_of_a_tenant(const Router::Listing& route) {
    return route.pattern.starts_with("/api/") && !route.pattern.starts_with("/api/v1/jobs");
  }
};

TEST_F(OpenApiTest, DescribesExactlyTheRoutesThatThereAre) {
  std::set<std::string> registered;
  for (const auto& route : routes()) registered.insert(operation(route));
  EXPECT_EQ(openapi().operations(), registered);
}

TEST_F(OpenApiTest, NamesThePathParametersOfEveryRoute) {
  for (const auto& route : routes()) {
    std::set<std::string> in_pattern;
    for (auto begin = route.pattern.find('{'); begin != std::string_view::npos;
         begin = route.pattern.find('{', begin + 1)) {
      in_pattern.insert(std::string(route.pattern.substr(begin + 1, route.pattern.find('}', begin) - begin - 1)));
    }
    EXPECT_EQ(openapi().parameters(operation(route), "path"), in_pattern) << operation(route);
  }
}

TEST_F(OpenApiTest, NamesExactlyTheQueryParametersThatAreAllowed) {
  for (const auto& route : routes()) {
    SCOPED_TRACE(operation(route));
    const auto response = ask(route.method, filled(route.pattern) + "?no-such-parameter=1");
    ASSERT_EQ(response.status, 400) << response.body;
    const auto message = error(response);
    ASSERT_THAT(message, HasSubstr("no-such-parameter"));
    const std::string_view allowed = std::string_view(message).substr(message.rfind("allowed: ") + 9);
    std::set<std::string> names;
    for (std::size_t begin = 0; begin < allowed.size() && allowed != "none";) {
      const auto end = std::min(allowed.find(", ", begin), allowed.size());
      names.insert(std::string(allowed.substr(begin, end - begin)));
      begin = end + 2;
    }
    EXPECT_EQ(openapi().parameters(operation(route), "query"), names);
  }
}

TEST_F(OpenApiTest, SaysWhereATenantCanBeNamed) {
  for (const auto& route : routes()) {
    SCOPED_TRACE(operation(route));
    EXPECT_EQ(openapi().parameters(operation(route), "header").contains("X-Tenant-Id"), is_of_a_tenant(route));
    if (!is_of_a_tenant(route)) continue;
    const auto response = ask(route.method, filled(route.pattern), "", {{"X-Tenant-Id", "acme"}});
    EXPECT_EQ(response.status, 400);
    EXPECT_EQ(error(response), "header X-Tenant-Id is 'acme'; allowed: a uuid");
  }
}

TEST(AsyncApi, HasAMessageForEveryContractAndNoOther) {
  const auto contracts = events::Contracts::load();
  ASSERT_TRUE(contracts);
  const auto folder = std::filesystem::path(WFO_SOURCE_DIR) / "contracts";
  const auto document = YAML::LoadFile((folder / "asyncapi.yaml").string());
  std::vector<std::string> described;
  for (const auto& message : document["components"]["messages"]) {
    const auto type = message.first.as<std::string>();
    described.push_back(type);
    EXPECT_EQ(message.second["name"].as<std::string>(), type);
    EXPECT_EQ(message.second["payload"]["schema"]["$ref"].as<std::string>(),
              fmt::format("./events/{}.schema.json", type));
    EXPECT_TRUE(std::filesystem::exists(folder / "events" / (type + ".schema.json"))) << type;
    EXPECT_TRUE(document["channels"]["coder_events"]["messages"][type]) << type;
  }
  std::ranges::sort(described);
  EXPECT_EQ(described, (*contracts)->types());
}

TEST(AsyncApi, BindsEachQueueToTheTypesThatItsMessagesHave) {
  const auto document = YAML::LoadFile((std::filesystem::path(WFO_SOURCE_DIR) / "contracts/asyncapi.yaml").string());
  for (const auto& channel : document["channels"]) {
    const auto queue = channel.first.as<std::string>();
    if (queue == "coder_events") continue;
    for (const auto& message : channel.second["messages"]) {
      const auto type = message.first.as<std::string>();
      bool bound = false;
      for (const auto& key : channel.second["x-routing-keys"]) {
        bound = bound || bus::topic_matches(key.as<std::string>(), type);
      }
      EXPECT_TRUE(bound) << queue << " does not get " << type;
    }
  }
}

class AsyncApiBindings : public Installation {};

TEST_F(AsyncApiBindings, AreThoseOfTheRoles) {
  const auto document = YAML::LoadFile((std::filesystem::path(WFO_SOURCE_DIR) / "contracts/asyncapi.yaml").string());
  const auto keys_of = [&](std::string_view queue) {
    std::set<std::string> keys;
    for (const auto& key : document["channels"][std::string(queue)]["x-routing-keys"]) {
      keys.insert(key.as<std::string>());
    }
    return keys;
  };
  const auto ledger = ledger::default_bindings();
  EXPECT_EQ(keys_of(ledger::kQueue), std::set<std::string>(ledger.begin(), ledger.end()));
  const auto documented = keys_of(orchestrator::Orchestrator::kQueue);
  for (const auto& binding : orchestrator_->bindings()) EXPECT_TRUE(documented.contains(binding)) << binding;
  for (const auto& binding : scheduler_.bindings()) EXPECT_TRUE(documented.contains(binding)) << binding;
}

}  // namespace
}  // namespace wfo::api
