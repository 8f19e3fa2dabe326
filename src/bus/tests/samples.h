#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "events/contracts.h"

/// Events for tests of what carries them: of types that no contract knows, with bytes that the test chooses.
namespace wfo::bus::samples {

inline const events::Contracts& contracts() {
  static const auto loaded = events::Contracts::load();
  EXPECT_TRUE(loaded) << (loaded ? "" : loaded.error().message);
  return **loaded;
}

inline const TenantId kTenant = *TenantId::parse("6f2c1a52-0c5e-4a53-9c56-0f3a7d0e1a01");
inline const TenantId kOtherTenant = *TenantId::parse("6f2c1a52-0c5e-4a53-9c56-0f3a7d0e1a02");

/// The id that the n-th sample has.
inline EventId event_id(int n) { return EventId(Uuid::v5(kTenant.value(), fmt::format("event {}", n))); }

inline std::string event_text(std::string_view type, int n, std::string_view data = "{}",
                              const TenantId& tenant = kTenant) {
  return fmt::format(
      R"({{"id":"{}","type":"{}","version":"1.0.0","timestamp":"2026-03-01T09:30:00.000Z","tenantId":"{}","source":"tests","data":{}}})",
      event_id(n).to_string(), type, tenant.to_string(), data);
}

inline events::EventPtr read(std::string text) {
  auto event = contracts().read(std::move(text), Timestamp(milliseconds(1'772'357'400'000)));
  EXPECT_TRUE(event) << (event ? "" : event.error().message);
  return event ? *event : nullptr;
}

inline events::EventPtr event(std::string_view type, int n, std::string_view data = "{}",
                              const TenantId& tenant = kTenant) {
  return read(event_text(type, n, data, tenant));
}

}  // namespace wfo::bus::samples
