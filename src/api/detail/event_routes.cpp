#include <algorithm>

#include "api/detail/arguments.h"
#include "api/detail/routes.h"

namespace wfo::api::detail {
namespace {

constexpr std::size_t kEventsMax = 1000;  // of one request

void write_answer(json::Writer& out, const delivery::IntakeAnswer& answer) {
  out.begin_object().key("status").string(name(answer.status));
  if (answer.id) out.key("id").uuid(*answer.id);
  if (answer.refusal) {
    out.key("error").begin_object();
    out.key("code").string(name(answer.refusal->code)).key("message").string(answer.refusal->message);
    out.end_object();
  }
  out.end_object();
}

Response answer_one(const delivery::IntakeAnswer& answer) {
  if (answer.refusal) return error_response(*answer.refusal);
  std::string body;
  json::Writer out(body);
  write_answer(out, answer);
  return json_response(202, std::move(body));
}

Response answer_many(const std::vector<delivery::IntakeAnswer>& answers) {
  const auto count = [&](delivery::IntakeStatus status) {
    return static_cast<std::int64_t>(std::ranges::count(answers, status, &delivery::IntakeAnswer::status));
  };
  std::string body;
  json::Writer out(body);
  out.begin_object();
  out.key("accepted").number(count(delivery::IntakeStatus::accepted));
  out.key("duplicates").number(count(delivery::IntakeStatus::duplicate));
  out.key("refused").number(count(delivery::IntakeStatus::refused));
  out.key("results").begin_array();
  for (const auto& answer : answers) write_answer(out, answer);
  out.end_array().end_object();
  return json_response(200, std::move(body));
}

Answer hand_in(const Services& services, const Request& request) {
  TRY(allow_parameters(request, {}));
  TRY_ASSIGN(const TenantId tenant, read_tenant(request, services.default_tenant));
  const auto document = json::Document::parse(request.body);
  if (!document) return std::unexpected(with_context(document.error(), "the body"));
  const auto root = document->root();
  std::vector<std::string> texts;
  if (root.is_array()) {
    if (root.size() < 1 || root.size() > kEventsMax) {
      return fail(ErrorCode::invalid_argument, "the body holds {} events; allowed: 1..{}", root.size(), kEventsMax);
    }
    for (const json::Value event : root.elements()) texts.emplace_back(event.raw());
  } else {
    texts.emplace_back(root.raw());
  }
  TRY_ASSIGN(const auto answers, services.intake.submit(tenant, texts));
  return root.is_array() ? answer_many(answers) : answer_one(answers.front());
}

}  // namespace

void add_event_routes(Router& router, const Services& services) {
  add_route(router, Method::post, "/api/v1/events", services, hand_in);
}

}  // namespace wfo::api::detail
