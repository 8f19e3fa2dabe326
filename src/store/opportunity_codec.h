#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "store/opportunity_store.h"

namespace wfo::store {

/// Whether every store can hold it and `decode_opportunity` reads back what `encode_opportunity` writes: texts as
/// `check_text` wants them, numbers and dates in their ranges. Errors: `invalid_argument` names opportunity, field,
/// value and what is allowed.
[[nodiscard]] Result<void> check_opportunity(const Opportunity& opportunity);

/// The fields of an opportunity but tenant, id and state, as compact JSON: the text that stores keep. Fields without
/// a value are left out.
[[nodiscard]] std::string encode_opportunity(const Opportunity& opportunity);
/// Its inverse; tenant, id and state stay as they are in `opportunity`. Errors: `corruption`.
[[nodiscard]] Result<void> decode_opportunity(std::string_view text, Opportunity& opportunity);

/// What a stage means where nobody says it: `Won` and `Closed Won`, `Lost` and `Closed Lost`, however they are spelled
/// (case, spaces, signs); every other stage is open.
[[nodiscard]] StageState state_of_stage(std::string_view stage);

/// Lays the members of `changes` over `opportunity`: the same names as `encode_opportunity` writes, and `state`. A
/// null takes a value away; names that are not ours are passed over, and so is `changedAt`, which is for who applies
/// the changes to set. A stage without a state brings its `state_of_stage`. `asOf` is not carried over: who changes an
/// opportunity and does not say as of when means now. Errors: `invalid_argument` names the member, its value and what
/// is allowed; then nothing is changed.
[[nodiscard]] Result<void> apply_changes(json::Value changes, Opportunity& opportunity);

}  // namespace wfo::store
