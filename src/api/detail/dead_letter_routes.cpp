#include "api/detail/arguments.h"
#include "api/detail/payload.h"
#include "api/detail/routes.h"

namespace wfo::api::detail {
namespace {

std::optional<store::DeadLetterStatus> parse_status(std::string_view text) {
  for (const auto status :
       {store::DeadLetterStatus::waiting, store::DeadLetterStatus::replayed, store::DeadLetterStatus::discarded}) {
    if (text == name(status)) return status;
  }
  return std::nullopt;
}

/// Until there are users, all that is known of who asks is the way he came.
delivery::Operator who_asks(const Request& request, const TenantId& tenant) {
  return {tenant, request.over_local_socket ? "local-socket" : "http"};
}

/// All but the bytes; the object stays open.
void begin_letter(json::Writer& out, const store::DeadLetter& letter, std::size_t bytes_size) {
  out.begin_object().key("id").uuid(letter.id).key("status").string(name(letter.status));
  out.key("queue").string(letter.queue);
  if (!letter.type.empty()) out.key("type").string(letter.type);
  out.key("reason").string(letter.reason).key("attempts").number(static_cast<std::int64_t>(letter.attempts));
  out.key("createdAt").timestamp(letter.created_at);
  out.key("bodyBytes").number(static_cast<std::int64_t>(bytes_size));
  if (letter.replayed_as) out.key("replayedAs").uuid(*letter.replayed_as);
  if (!letter.note.empty()) out.key("note").string(letter.note);
}

Answer show_letter(const Services& services, const TenantId& tenant, const DeadLetterId& id) {
  TRY_ASSIGN(const auto letter, services.dead_letters.show(tenant, id));
  std::string body;
  json::Writer out(body);
  begin_letter(out, letter, letter.bytes.size());
  out.key("headers").raw(letter.headers);
  write_payload(out, "body", letter.bytes);
  out.end_object();
  return json_response(200, std::move(body));
}

Answer list(const Services& services, const Request& request) {
  TRY(allow_parameters(request, {"status", "limit", "cursor"}));
  TRY_ASSIGN(const TenantId tenant, read_tenant(request, services.default_tenant));
  TRY_ASSIGN(const auto status, read_choice(request, "status", parse_status, "waiting, replayed, discarded"));
  TRY_ASSIGN(const auto limit, read_limit(request));
  TRY_ASSIGN(const auto place, read_cursor(request));
  TRY_ASSIGN(const auto page, services.dead_letters.list(tenant, status, limit,
                                                         place ? std::optional(DeadLetterId(*place)) : std::nullopt));
  std::string body;
  json::Writer out(body);
  out.begin_object().key("deadLetters").begin_array();
  for (const auto& [letter, bytes_size] : page.letters) {
    begin_letter(out, letter, bytes_size);
    out.end_object();
  }
  out.end_array();
  if (page.next) out.key("cursor").string(to_cursor(page.next->value()));
  out.end_object();
  return json_response(200, std::move(body));
}

Answer show(const Services& services, const Request& request) {
  TRY(allow_parameters(request, {}));
  TRY_ASSIGN(const TenantId tenant, read_tenant(request, services.default_tenant));
  TRY_ASSIGN(const auto id, read_path_id(request, "dead letter"));
  return show_letter(services, tenant, DeadLetterId(id));
}

/// The mended event: its text, or the event itself.
Result<std::optional<std::string>> read_mended(json::Value body) {
  const auto member = body.find("body");
  if (!member || member->kind() == json::Kind::null) return std::optional<std::string>();
  if (member->is_object()) return std::optional(std::string(member->raw()));
  if (auto text = member->string()) return text;
  return fail(ErrorCode::invalid_argument,
              "member 'body' of the body is of kind {}; allowed: an event, as an object or as its text",
              json::name(member->kind()));
}

Answer replay(const Services& services, const Request& request) {
  TRY(allow_parameters(request, {}));
  TRY_ASSIGN(const TenantId tenant, read_tenant(request, services.default_tenant));
  TRY_ASSIGN(const auto id, read_path_id(request, "dead letter"));
  TRY_ASSIGN(const auto body, read_object(request, {"body"}));
  TRY_ASSIGN(const auto mended, read_mended(body.root()));
  TRY(services.dead_letters.replay(who_asks(request, tenant), DeadLetterId(id), mended));
  return show_letter(services, tenant, DeadLetterId(id));
}

Answer discard(const Services& services, const Request& request) {
  TRY(allow_parameters(request, {}));
  TRY_ASSIGN(const TenantId tenant, read_tenant(request, services.default_tenant));
  TRY_ASSIGN(const auto id, read_path_id(request, "dead letter"));
  TRY_ASSIGN(const auto body, read_object(request, {"note"}));
  TRY_ASSIGN(const auto note, need_text(body.root(), "note", kNoteMax));
  TRY(services.dead_letters.discard(who_asks(request, tenant), DeadLetterId(id), note));
  return show_letter(services, tenant, DeadLetterId(id));
}

}  // namespace

void add_dead_letter_routes(Router& router, const Services& services) {
  add_route(router, Method::get, "/api/v1/dead-letters", services, list);
  add_route(router, Method::get, "/api/v1/dead-letters/{id}", services, show);
  add_route(router, Method::post, "/api/v1/dead-letters/{id}/replay", services, replay);
  add_route(router, Method::post, "/api/v1/dead-letters/{id}/discard", services, discard);
}

}  // namespace wfo::api::detail
