#include "events/contracts.h"

namespace wfo::events {

Result<EventPtr> EventFactory::make(std::string_view type, const TenantId& tenant, const Event* cause,
                                    FunctionRef<void(json::Writer&)> write_data) const {
  Envelope envelope{.type = type, .tenant = tenant};
  if (cause) {
    envelope.correlation_id = cause->correlation_id();
    envelope.causation_id = cause->id();
    envelope.traceparent = cause->traceparent();
  }
  return make(std::move(envelope), write_data);
}

Result<EventPtr> EventFactory::make(Envelope envelope, FunctionRef<void(json::Writer&)> write_data) const {
  envelope.source = source_;
  return contracts_.make(EventId(ids_.next()), clock_.now(), envelope, write_data);
}

}  // namespace wfo::events
