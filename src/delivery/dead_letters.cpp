#include "delivery/dead_letters.h"

#include <algorithm>

namespace wfo::delivery {
namespace {

constexpr std::size_t kOperatorBytesMax = 200;

Result<void> check(const Operator& who) {
  if (who.name.empty() || who.name.size() > kOperatorBytesMax) {
    return fail(ErrorCode::invalid_argument, "the operator's name has {} bytes; 1 to {} are allowed", who.name.size(),
                kOperatorBytesMax);
  }
  return {};
}

std::unexpected<Error> not_found(const DeadLetterId& id) {
  return fail(ErrorCode::not_found, "dead letter {} does not exist", id.to_string());
}

/// The letter, if `tenant` may see it.
Result<store::DeadLetter> visible(const store::DeadLetterStore& letters, const std::optional<TenantId>& tenant,
                                  const DeadLetterId& id) {
  TRY_ASSIGN(auto letter, letters.find(id));
  if (!letter || (tenant && letter->tenant != *tenant)) return not_found(id);
  return *std::move(letter);
}

Result<void> check_waiting(const store::DeadLetter& letter) {
  if (letter.status == store::DeadLetterStatus::waiting) return {};
  if (letter.replayed_as) {
    return fail(ErrorCode::conflict, "dead letter {} was replayed already, as event {}", letter.id.to_string(),
                letter.replayed_as->to_string());
  }
  return fail(ErrorCode::conflict, "dead letter {} is {} already: {}", letter.id.to_string(), name(letter.status),
              letter.note);
}

std::optional<EventId> id_of(const std::string& bytes) {
  const auto document = json::Document::parse(bytes);
  if (!document) return std::nullopt;
  const auto id = document->root().find("id");
  const auto uuid = id ? id->uuid() : std::nullopt;
  return uuid ? std::optional(EventId(*uuid)) : std::nullopt;
}

/// Changes of a text by position; the rest of it is copied as it is.
class Splice {
 public:
  explicit Splice(const std::string& text) : text_(text) {}

  void replace(json::Value value, std::string with) {
    const auto token = value.raw();
    edits_.push_back({static_cast<std::size_t>(token.data() - text_.data()), token.size(), std::move(with)});
  }
  /// Puts `member` before the others of `object`, behind those that were put there before.
  void put_first(json::Value object, std::string member) {
    const auto begin = static_cast<std::size_t>(object.raw().data() - text_.data()) + 1;
    if (object.size() > 0) {
      member += ',';
    } else if (std::ranges::count(edits_, begin, &Edit::begin) > 0) {
      member.insert(0, 1, ',');
    }
    edits_.push_back({begin, 0, std::move(member)});
  }
  std::string result() {
    std::ranges::stable_sort(edits_, {}, &Edit::begin);
    std::string out;
    std::size_t copied = 0;
    for (const auto& edit : edits_) {
      out.append(text_, copied, edit.begin - copied).append(edit.with);
      copied = edit.begin + edit.length;
    }
    return out.append(text_, copied);
  }

 private:
  struct Edit {
    std::size_t begin;
    std::size_t length;
    std::string with;
  };
  const std::string& text_;
  std::vector<Edit> edits_;
};

std::string quoted(const EventId& id) { return '"' + id.to_string() + '"'; }

}  // namespace

Result<std::string> rewritten(const json::Document& event, const EventId& id, const std::optional<EventId>& cause) {
  const auto root = event.root();
  INVARIANT(root.is_object());
  Splice splice(event.text());
  if (const auto old = root.find("id")) {
    splice.replace(*old, quoted(id));
  } else {
    splice.put_first(root, "\"id\":" + quoted(id));
  }
  if (!cause) return splice.result();

  const auto member = "\"causationId\":" + quoted(*cause);
  const auto metadata = root.find("metadata");
  if (!metadata) {
    splice.put_first(root, "\"metadata\":{" + member + "}");
  } else if (metadata->kind() == json::Kind::null) {
    splice.replace(*metadata, "{" + member + "}");
  } else if (!metadata->is_object()) {
    return fail(ErrorCode::invalid_argument, "/metadata is {}; an object is allowed", name(metadata->kind()));
  } else if (const auto old = metadata->find("causationId")) {
    splice.replace(*old, quoted(*cause));
  } else {
    splice.put_first(*metadata, member);
  }
  return splice.result();
}

DeadLetters::DeadLetters(store::Store& store, const events::Contracts& contracts, IdSource& ids, const Clock& clock,
                         Logger& log, Metrics& metrics)
    : store_(store),
      contracts_(contracts),
      ids_(ids),
      clock_(clock),
      log_(log),
      replayed_(metrics.counter("dead_letters_settled_total", "Dead letters that an operator settled",
                                {{"status", "replayed"}})),
      discarded_(metrics.counter("dead_letters_settled_total", "Dead letters that an operator settled",
                                 {{"status", "discarded"}})) {}

Result<DeadLetterPage> DeadLetters::list(const std::optional<TenantId>& tenant,
                                         std::optional<store::DeadLetterStatus> status, std::size_t limit,
                                         const std::optional<DeadLetterId>& before) const {
  if (limit < 1 || limit > kDeadLetterPageMax) {
    return fail(ErrorCode::invalid_argument, "limit {}: 1 to {} are allowed", limit, kDeadLetterPageMax);
  }
  // Letters are read a few at a time: a page of the largest would not fit the memory.
  constexpr std::size_t kReadMax = 16;
  DeadLetterPage page;
  TRY(store_.read([&](const store::Transaction& transaction) -> Result<void> {
    store::DeadLetterQuery query{.tenant = tenant, .status = status, .before = before};
    while (page.letters.size() <= limit) {
      query.limit = std::min(kReadMax, limit + 1 - page.letters.size());
      TRY_ASSIGN(auto letters, transaction.dead_letters().list(query));
      for (auto& letter : letters) {
        query.before = letter.id;
        const auto size = letter.bytes.size();
        letter.bytes = {};
        page.letters.push_back({std::move(letter), size});
      }
      if (letters.size() < query.limit) break;
    }
    return {};
  }));
  if (page.letters.size() > limit) {
    page.letters.pop_back();
    page.next = page.letters.back().letter.id;
  }
  return page;
}

Result<store::DeadLetter> DeadLetters::show(const std::optional<TenantId>& tenant, const DeadLetterId& id) const {
  store::DeadLetter letter;
  TRY(store_.read([&](const store::Transaction& transaction) -> Result<void> {
    TRY_ASSIGN(letter, visible(transaction.dead_letters(), tenant, id));
    return {};
  }));
  return letter;
}

Result<void> DeadLetters::discard(const Operator& who, const DeadLetterId& id, std::string_view why) {
  TRY(check(who));
  if (why.empty() || why.size() > kNoteBytesMax) {
    return fail(ErrorCode::invalid_argument, "the reason for discarding has {} bytes; 1 to {} are allowed", why.size(),
                kNoteBytesMax);
  }
  auto settled = store_.transact([&](store::Transaction& transaction) -> Result<void> {
    TRY_ASSIGN(const auto letter, visible(transaction.dead_letters(), who.tenant, id));
    TRY(check_waiting(letter));
    return transaction.dead_letters().settle(id, store::DeadLetterStatus::discarded, std::nullopt,
                                             fmt::format("discarded by {}: {}", who.name, why));
  });
  if (!settled) return settled;
  discarded_.add();
  log_.info("dead letter {} was discarded by {}", id.to_string(), who.name);
  return {};
}

Result<EventId> DeadLetters::replay(const Operator& who, const DeadLetterId& id,
                                    const std::optional<std::string>& mended) {
  TRY(check(who));
  TRY_ASSIGN(const auto letter, show(who.tenant, id));
  TRY(check_waiting(letter));
  const EventId new_id(ids_.next());
  auto event = mended_event(letter, mended, new_id);
  if (!event) {
    auto error = std::move(event).error();
    if (error.code == ErrorCode::invalid_argument && !mended) error.message += "; a mended message can be given";
    return std::unexpected(with_context(std::move(error), fmt::format("dead letter {} cannot be replayed{}",
                                                                      id.to_string(), mended ? "" : " as it is")));
  }
  const auto settled = store_.transact([&](store::Transaction& transaction) -> Result<void> {
    // Another operator may have been faster: the letter is asked again, in the transaction that settles it.
    TRY_ASSIGN(const auto now, visible(transaction.dead_letters(), who.tenant, id));
    TRY(check_waiting(now));
    TRY(transaction.log().append({&*event, 1}));
    return transaction.dead_letters().settle(
        id, store::DeadLetterStatus::replayed, new_id,
        fmt::format("replayed{} by {}", mended ? " with a mended message" : "", who.name));
  });
  if (!settled) return std::unexpected(settled.error());
  replayed_.add();
  log_.info("dead letter {} was replayed as event {} by {}", id.to_string(), new_id.to_string(), who.name);
  return new_id;
}

Result<events::EventPtr> DeadLetters::mended_event(const store::DeadLetter& letter,
                                                   const std::optional<std::string>& mended,
                                                   const EventId& new_id) const {
  const std::string& bytes = mended ? *mended : letter.bytes;
  const auto now = clock_.now();
  // What cannot be read as it came is refused with its own reasons, in the caller's own lines and columns. The new id
  // stands for one that is missing, as a broker's message id would.
  TRY_ASSIGN(const auto event, contracts_.read(bytes, now, new_id));
  if (!letter.type.empty() && event->type() != letter.type) {
    return fail(ErrorCode::invalid_argument, "its type is {}; the message that was set aside is a {}", event->type(),
                letter.type);
  }
  // Who may see a letter of the system tenant works for the installation: whose message it was, he has found out.
  if (letter.tenant != system_tenant() && event->tenant() != letter.tenant) {
    return fail(ErrorCode::invalid_argument, "its tenant is {}; the message that was set aside belongs to {}",
                event->tenant().to_string(), letter.tenant.to_string());
  }
  auto old_id = id_of(letter.bytes);
  if (!old_id) old_id = id_of(bytes);
  TRY_ASSIGN(const auto document, json::Document::parse(bytes));
  TRY_ASSIGN(auto text, rewritten(document, new_id, old_id));
  return contracts_.read(std::move(text), now);
}

}  // namespace wfo::delivery
