#pragma once

#include <fmt/format.h>
#include <libpq-fe.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>

namespace wfo::test {

/// A session of a test's own on a PostgreSQL server, beside what is tested. Failures throw std::runtime_error.
class PostgresSession {
 public:
  explicit PostgresSession(const std::string& url) : connection_(PQconnectdb(url.c_str()), &PQfinish) {
    if (PQstatus(connection_.get()) != CONNECTION_OK) throw std::runtime_error(PQerrorMessage(connection_.get()));
    execute("SET client_min_messages = warning");
  }
  /// One or several statements. Returns the first column of the last one's first row, as text; "" without one.
  std::string execute(const std::string& sql) {
    const std::unique_ptr<PGresult, decltype(&PQclear)> result(PQexec(connection_.get(), sql.c_str()), &PQclear);
    const auto status = PQresultStatus(result.get());
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
      throw std::runtime_error(sql + ": " + PQerrorMessage(connection_.get()));
    }
    return PQntuples(result.get()) > 0 && PQnfields(result.get()) > 0 ? PQgetvalue(result.get(), 0, 0) : "";
  }

 private:
  std::unique_ptr<PGconn, decltype(&PQfinish)> connection_;
};

/// The name of a schema that no other test uses. What was made in it is dropped with the object.
class PostgresSchema {
 public:
  explicit PostgresSchema(std::string url) : url_(std::move(url)) {}
  PostgresSchema(const PostgresSchema&) = delete;
  ~PostgresSchema() {
    try {
      PostgresSession(url_).execute(fmt::format("DROP SCHEMA IF EXISTS {} CASCADE", name_));
    } catch (const std::exception&) {
      // The server may have been stopped by the test.
    }
  }
  [[nodiscard]] const std::string& name() const { return name_; }
  /// In this schema.
  std::string execute(const std::string& sql) const {
    return PostgresSession(url_).execute(fmt::format("SET search_path = {}; {}", name_, sql));
  }

 private:
  static std::string next_name() {
    static std::atomic<int> count = 0;
    return fmt::format("test_{}_{}", getpid(), ++count);
  }
  std::string url_;
  std::string name_ = next_name();
};

}  // namespace wfo::test
