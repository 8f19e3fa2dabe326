#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "events/contracts.h"
#include "store/store.h"

namespace wfo::delivery {

/// A dead letter in a list: all but its bytes, of which there may be many.
struct DeadLetterSummary {
  store::DeadLetter letter;  // `bytes` is empty
  std::size_t bytes_size = 0;
};

struct DeadLetterPage {
  std::vector<DeadLetterSummary> letters;  // the newest first
  std::optional<DeadLetterId> next;        // hand it over as `before` for the next page; nothing: this is the last
};

/// Who asks. `tenant`: sees and settles only the letters of that tenant; nothing: the operator of the installation,
/// who sees all, also those of messages that name no tenant.
struct Operator {
  std::optional<TenantId> tenant;
  std::string name;  // for the letter's note; 1..200 bytes
};

inline constexpr std::size_t kDeadLetterPageMax = 1'000;
inline constexpr std::size_t kNoteBytesMax = 1'000;

/// What operators do with dead letters. Any thread.
class DeadLetters {
 public:
  DeadLetters(store::Store& store, const events::Contracts& contracts, IdSource& ids, const Clock& clock, Logger& log,
              Metrics& metrics);

  /// Errors: `invalid_argument` a limit that is not 1..1000.
  [[nodiscard]] Result<DeadLetterPage> list(const std::optional<TenantId>& tenant,
                                            std::optional<store::DeadLetterStatus> status, std::size_t limit = 50,
                                            const std::optional<DeadLetterId>& before = std::nullopt) const;
  /// Errors: `not_found`, also for a letter of another tenant.
  [[nodiscard]] Result<store::DeadLetter> show(const std::optional<TenantId>& tenant, const DeadLetterId& id) const;

  /// Gives the letter up: it stays in the table with who and why, until retention. `why` is not empty.
  /// Errors: `not_found`; `conflict` it is not waiting any more; `invalid_argument` names what is wrong with the rest.
  [[nodiscard]] Result<void> discard(const Operator& who, const DeadLetterId& id, std::string_view why);

  /// Publishes the letter's message again, or `mended` in its place, as a new event: under a new id, with
  /// `metadata.causationId` = the id it had (left out if nobody can read it), all other bytes as they are. Every
  /// queue that the type is bound for gets it. The letter is settled in the transaction that appends the event.
  /// Returns the new id. A mended message keeps type and tenant, as far as the letter has them.
  /// Errors: `not_found`; `conflict` it is not waiting any more; `invalid_argument` the message cannot be read: says
  /// why, and whether a mended one is needed.
  [[nodiscard]] Result<EventId> replay(const Operator& who, const DeadLetterId& id,
                                       const std::optional<std::string>& mended = std::nullopt);

 private:
  Result<events::EventPtr> mended_event(const store::DeadLetter& letter, const std::optional<std::string>& mended,
                                        const EventId& new_id) const;

  store::Store& store_;
  const events::Contracts& contracts_;
  IdSource& ids_;
  const Clock& clock_;
  Logger& log_;
  Counter& replayed_;
  Counter& discarded_;
};

/// `event`, a JSON object, as another event: under `id`, caused by `cause`. Tokens are replaced or put in where they
/// are missing; every other byte stays. Errors: `invalid_argument` there is a `metadata` that is no object.
[[nodiscard]] Result<std::string> rewritten(const json::Document& event, const EventId& id,
                                            const std::optional<EventId>& cause);

}  // namespace wfo::delivery
