#include "api/http_server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/http/status.hpp>
#include <chrono>
#include <ctime>
#include <future>
#include <map>
#include <set>
#include <thread>
#include <tuple>

#include "api/detail/request_reader.h"
#include "api/detail/socket.h"

namespace wfo::api {
namespace {

namespace asio = boost::asio;
using asio::awaitable;
using asio::use_awaitable;
using boost::system::error_code;
using detail::RequestReader;
using Clock = std::chrono::steady_clock;
// One kind of socket for TCP and Unix, so that everything below is compiled once.
using Protocol = asio::generic::stream_protocol;
using Socket = Protocol::socket;
using Acceptor = asio::basic_socket_acceptor<Protocol>;

constexpr int kTurnedAwayMax = 128;  // connections that are being told that there are too many
constexpr std::string_view kNoRoute = "none";
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

enum class AfterAnswer { keep, close };

/// A field's value from whoever made it, on one line whatever it holds: a line break would begin a field or a body.
std::string one_line(std::string_view value) {
  std::string result(value);
  for (char& c : result) {
    if (static_cast<unsigned char>(c) < ' ' || c == 127) c = ' ';
  }
  return result;
}

std::string http_date() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  constexpr std::array<const char*, 7> kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr std::array<const char*, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  return fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT", kDays[static_cast<std::size_t>(utc.tm_wday)], utc.tm_mday,
                     kMonths[static_cast<std::size_t>(utc.tm_mon)], utc.tm_year + 1900, utc.tm_hour, utc.tm_min,
                     utc.tm_sec);
}

std::string serialize(const Response& response, bool with_body, std::string_view connection) {
  const bool may_have_body = response.status != 204 && response.status != 304;
  const auto reason =
      boost::beast::http::obsolete_reason(boost::beast::http::int_to_status(static_cast<unsigned>(response.status)));
  std::string text;
  text.reserve(512 + response.body.size());
  const auto out = std::back_inserter(text);
  fmt::format_to(out, "HTTP/1.1 {} {}\r\nDate: {}\r\nX-Content-Type-Options: nosniff\r\n", response.status,
                 std::string_view(reason.data(), reason.size()), http_date());
  if (may_have_body) fmt::format_to(out, "Content-Length: {}\r\n", response.body.size());
  if (!response.content_type.empty()) fmt::format_to(out, "Content-Type: {}\r\n", one_line(response.content_type));
  if (!response.headers.find("Cache-Control")) text += "Cache-Control: no-store\r\n";
  if (!connection.empty()) fmt::format_to(out, "Connection: {}\r\n", connection);
  for (const auto& [field, value] : response.headers) fmt::format_to(out, "{}: {}\r\n", field, one_line(value));
  text += "\r\n";
  if (with_body && may_have_body) text += response.body;
  return text;
}

Result<void> check(const HttpConfig& config) {
  const auto between = [](std::string_view name, auto value, auto low, auto high) -> Result<void> {
    if (value >= low && value <= high) return {};
    return fail(ErrorCode::invalid_argument, "http {} is {}; allowed: {} to {}", name, value, low, high);
  };
  if (!config.port && config.socket_path.empty()) {
    return fail(ErrorCode::invalid_argument, "http: neither a port nor a socket path is given");
  }
  constexpr std::size_t kBytesMax = 1024 * 1024 * 1024;
  constexpr std::int64_t kDayMs = 24 * 60 * 60 * 1000;
  TRY(between("threads", config.threads, 1, 256));
  TRY(between("connections_max", config.connections_max, 1, 100'000));
  TRY(between("handlers_waiting_max", config.handlers_waiting_max, 1, 100'000));
  TRY(between("request_line_bytes_max", config.request_line_bytes_max, std::size_t{64}, kBytesMax));
  TRY(between("headers_bytes_max", config.headers_bytes_max, std::size_t{256}, kBytesMax));
  TRY(between("body_bytes_max", config.body_bytes_max, std::size_t{1}, kBytesMax));
  TRY(between("idle_timeout (ms)", std::int64_t{config.idle_timeout.count()}, std::int64_t{1}, kDayMs));
  TRY(between("request_timeout (ms)", std::int64_t{config.request_timeout.count()}, std::int64_t{1}, kDayMs));
  TRY(between("linger_timeout (ms)", std::int64_t{config.linger_timeout.count()}, std::int64_t{1}, kDayMs));
  return {};
}

struct Connection {
  Connection(Socket accepted, bool is_local)
      : socket(std::move(accepted)), local(is_local), signal(socket.get_executor()) {}

  /// The next thing to wait for must be over in `stage`, and bytes must move every `idle` until then.
  void begin(milliseconds stage, milliseconds idle) {
    expired = false;
    stage_ends = Clock::now() + stage;
    idle_for = idle;
    bytes_moved();
  }
  void bytes_moved() { deadline = std::min(stage_ends, Clock::now() + idle_for); }

  void cut() {  // whatever is waited for ends now
    error_code ignored;
    socket.cancel(ignored);
    signal.cancel();
  }

  Socket socket;
  const bool local;
  std::string input;  // received, not yet read
  std::array<char, 16 * 1024> chunk;
  asio::steady_timer signal;  // never expires; cancelled when a handler has answered
  Clock::time_point stage_ends;
  milliseconds idle_for{0};
  Clock::time_point deadline;
  bool expired = false;          // the deadline passed
  bool between_requests = true;  // may be closed at any time
};

/// A request in the hands of a handler. The request and the response are the worker's until `answered`.
struct Job {
  std::shared_ptr<Connection> connection;
  Request request;
  Response response;
  bool answered = false;  // the io thread's
};

}  // namespace

/// Everything but `work` and the ends of `open` and `stop` runs on the io thread, so there is no lock.
struct HttpServer::State {
  State(const HttpConfig& config_given, const Router& router_given, Logger& logger_given, Metrics& metrics_given)
      : config(config_given),
        router(router_given),
        logger(logger_given),
        metrics(metrics_given),
        connections_gauge(metrics.gauge("http_connections", "Open connections")),
        pool(static_cast<std::size_t>(config.threads)) {}

  void listen(detail::Descriptor socket, int family, bool local);
  awaitable<void> accept(Acceptor& acceptor, bool local);
  void take(Socket socket, bool local);
  awaitable<void> serve(std::shared_ptr<Connection> connection);
  awaitable<void> turn_away(std::shared_ptr<Connection> connection);
  awaitable<void> watch_deadlines();

  awaitable<AfterAnswer> serve_request(std::shared_ptr<Connection> connection);
  awaitable<bool> receive(Connection& connection);
  awaitable<bool> send(Connection& connection, std::string_view bytes);
  awaitable<void> linger(Connection& connection);
  awaitable<Response> run_handler(std::shared_ptr<Connection> connection, Request& request);
  void work(std::shared_ptr<Job> job);

  void remove(const std::shared_ptr<Connection>& connection);
  void tell_if_all_closed();
  void count(std::string_view method, std::string_view route, int status);
  void observe(std::string_view route, Clock::duration took);

  const HttpConfig config;
  const Router& router;
  Logger& logger;
  Metrics& metrics;
  Gauge& connections_gauge;
  std::map<std::tuple<std::string_view, std::string_view, int>, Counter*> request_counters;
  std::map<std::string_view, Histogram*> duration_histograms;

  asio::io_context io{1};
  asio::executor_work_guard<asio::io_context::executor_type> keep_running{io.get_executor()};
  asio::steady_timer watch_timer{io};
  asio::steady_timer accept_pause{io};
  std::vector<std::unique_ptr<Acceptor>> acceptors;
  std::optional<detail::SocketFile> socket_file;
  std::uint16_t port = 0;

  std::set<std::shared_ptr<Connection>> connections;
  int served = 0;            // of them, not turned away
  int handlers_waiting = 0;  // requests that wait for a thread or have one
  bool stopping = false;     // no new requests
  bool cut_off = false;      // no more patience
  bool all_closed_told = false;
  std::promise<void> all_closed;

  std::once_flag stopped;
  asio::thread_pool pool;
  std::thread io_thread;
};

void HttpServer::State::listen(detail::Descriptor socket, int family, bool local) {
  acceptors.push_back(std::make_unique<Acceptor>(io, Protocol(family, 0), socket.get()));
  (void)socket.release();  // the acceptor closes it
  asio::co_spawn(io, accept(*acceptors.back(), local), asio::detached);
}

void HttpServer::State::remove(const std::shared_ptr<Connection>& connection) {
  error_code ignored;
  connection->socket.close(ignored);
  connections.erase(connection);
  connections_gauge.set(static_cast<double>(connections.size()));
  tell_if_all_closed();
}

void HttpServer::State::tell_if_all_closed() {
  if (!stopping || all_closed_told || !connections.empty()) return;
  all_closed_told = true;
  all_closed.set_value();
}

void HttpServer::State::count(std::string_view method, std::string_view route, int status) {
  auto& counter = request_counters[{method, route, status}];
  if (counter == nullptr) {
    counter = &metrics.counter(
        "http_requests_total", "Requests answered",
        {{"method", std::string(method)}, {"route", std::string(route)}, {"status", std::to_string(status)}});
  }
  counter->add();
}

void HttpServer::State::observe(std::string_view route, Clock::duration took) {
  auto& histogram = duration_histograms[route];
  if (histogram == nullptr) {
    histogram =
        &metrics.histogram("http_request_duration_seconds", "From a request's last byte to its answer being ready",
                           {{"route", std::string(route)}});
  }
  histogram->observe(std::chrono::duration<double>(took).count());
}

awaitable<void> HttpServer::State::accept(Acceptor& acceptor, bool local) {
  bool failing = false;
  while (!stopping) {
    error_code error;
    Socket socket(io);
    co_await acceptor.async_accept(socket, asio::redirect_error(use_awaitable, error));
    if (stopping) break;
    if (error) {
      // Out of descriptors, most likely: what is connected goes on, and the others wait in the kernel's queue.
      if (!failing) logger.warn("http: cannot accept connections for now: {}", error.message());
      failing = true;
      accept_pause.expires_after(milliseconds(50));
      co_await accept_pause.async_wait(asio::redirect_error(use_awaitable, error));
      continue;
    }
    failing = false;
    const int yes = 1;  // an answer is one write: nothing is gained by holding its last packet back
    if (!local) setsockopt(socket.native_handle(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    try {
      take(std::move(socket), local);
    } catch (const std::exception& exception) {  // memory, most likely: this connection's misfortune only
      logger.error("http: a connection could not be taken: {}", exception.what());
    }
  }
}

void HttpServer::State::take(Socket socket, bool local) {
  const bool is_served = served < config.connections_max;
  if (!is_served && static_cast<int>(connections.size()) >= served + kTurnedAwayMax) return;  // closes it
  const auto connection = std::make_shared<Connection>(std::move(socket), local);
  connections.insert(connection);
  connections_gauge.set(static_cast<double>(connections.size()));
  if (is_served) {
    ++served;
    asio::co_spawn(io, serve(connection), asio::detached);
  } else {
    asio::co_spawn(io, turn_away(connection), asio::detached);
  }
}

awaitable<void> HttpServer::State::serve(std::shared_ptr<Connection> connection) {
  try {
    AfterAnswer next = AfterAnswer::keep;
    while (next == AfterAnswer::keep) next = co_await serve_request(connection);
  } catch (const std::exception& exception) {
    logger.error("http: a connection ended: {}", exception.what());
  }
  --served;
  remove(connection);
}

awaitable<void> HttpServer::State::turn_away(std::shared_ptr<Connection> connection) {
  connection->between_requests = false;
  connection->begin(config.linger_timeout, config.linger_timeout);
  const Response response =
      error_response(503, fmt::format("there are {} connections already, as many as allowed", config.connections_max));
  count(kNoRoute, kNoRoute, response.status);
  const std::string text = serialize(response, true, "close");
  const bool sent = co_await send(*connection, text);
  if (sent) co_await linger(*connection);
  remove(connection);
}

awaitable<void> HttpServer::State::watch_deadlines() {
  // One timer for all: a timeout may be an eighth late, and no request pays for setting and clearing one.
  const auto shortest = std::min({config.idle_timeout, config.request_timeout, config.linger_timeout});
  const auto pause = std::clamp(shortest / 8, milliseconds(1), milliseconds(250));
  while (!cut_off) {
    error_code ignored;
    watch_timer.expires_after(pause);
    co_await watch_timer.async_wait(asio::redirect_error(use_awaitable, ignored));
    const auto now = Clock::now();
    for (const auto& connection : connections) {
      if (connection->expired || now < connection->deadline) continue;
      connection->expired = true;
      connection->cut();
    }
  }
}

/// More input; false: the client is gone, or too slow (`expired`).
awaitable<bool> HttpServer::State::receive(Connection& connection) {
  error_code error;
  const asio::mutable_buffer buffer(connection.chunk.data(), connection.chunk.size());
  const std::size_t size =
      co_await connection.socket.async_read_some(buffer, asio::redirect_error(use_awaitable, error));
  if (error || connection.expired || cut_off) co_return false;
  connection.input.append(connection.chunk.data(), size);
  connection.bytes_moved();
  co_return true;
}

awaitable<bool> HttpServer::State::send(Connection& connection, std::string_view bytes) {
  while (!bytes.empty()) {
    error_code error;
    const asio::const_buffer buffer(bytes.data(), bytes.size());
    const std::size_t size =
        co_await connection.socket.async_write_some(buffer, asio::redirect_error(use_awaitable, error));
    if (error || connection.expired || cut_off) co_return false;
    bytes.remove_prefix(size);
    connection.bytes_moved();
  }
  co_return true;
}

/// Lets a client that is still sending read its answer: closing now would make the kernel throw that answer away.
awaitable<void> HttpServer::State::linger(Connection& connection) {
  error_code ignored;
  connection.socket.shutdown(Socket::shutdown_send, ignored);
  connection.begin(config.linger_timeout, config.linger_timeout);
  bool more = true;
  while (more) {
    connection.input.clear();
    more = co_await receive(connection);
  }
}

/// On a worker.
void HttpServer::State::work(std::shared_ptr<Job> job) {
  job->response = router.handle(job->request);
  asio::post(io, [this, job = std::move(job)] {
    --handlers_waiting;
    job->answered = true;
    job->connection->signal.cancel();
  });
}

awaitable<Response> HttpServer::State::run_handler(std::shared_ptr<Connection> connection, Request& request) {
  if (handlers_waiting >= config.handlers_waiting_max) {
    co_return error_response(503, fmt::format("{} requests are waiting already", handlers_waiting));
  }
  auto job = std::make_shared<Job>();
  job->connection = connection;
  job->request = std::move(request);
  ++handlers_waiting;
  connection->begin(config.request_timeout, config.request_timeout);
  asio::post(pool, [this, job]() mutable { work(std::move(job)); });
  connection->signal.expires_at(Clock::time_point::max());
  while (!job->answered && !connection->expired && !cut_off) {
    error_code ignored;
    co_await connection->signal.async_wait(asio::redirect_error(use_awaitable, ignored));
  }
  if (!job->answered) co_return error_response(503, "there was no answer in time; what was asked may still happen");
  request = std::move(job->request);
  co_return std::move(job->response);
}

awaitable<AfterAnswer> HttpServer::State::serve_request(std::shared_ptr<Connection> connection) {
  Connection& c = *connection;
  if (c.input.empty()) {
    if (stopping) co_return AfterAnswer::close;
    c.between_requests = true;
    c.begin(config.idle_timeout, config.idle_timeout);
    const bool received = co_await receive(c);
    if (!received) co_return AfterAnswer::close;
  }
  c.between_requests = false;
  c.begin(config.request_timeout, config.idle_timeout);

  RequestReader reader(config, c.local);
  auto outcome = reader.read(c.input);
  while (outcome == RequestReader::Outcome::more || outcome == RequestReader::Outcome::proceed) {
    if (outcome == RequestReader::Outcome::proceed) {
      const bool sent = co_await send(c, kContinue);
      if (!sent) co_return AfterAnswer::close;
    }
    const bool received = co_await receive(c);
    if (!received) break;
    outcome = reader.read(c.input);
  }
  const bool whole = outcome == RequestReader::Outcome::whole;
  const bool refused = outcome == RequestReader::Outcome::refused;
  if (!whole && !refused && (!c.expired || cut_off)) co_return AfterAnswer::close;  // the client is gone

  Response response;
  std::string_view route = kNoRoute;
  bool keep = false;
  if (whole) {
    const auto begun = Clock::now();
    response = co_await run_handler(connection, reader.request());
    if (cut_off) co_return AfterAnswer::close;
    if (!reader.request().route.empty()) route = reader.request().route;
    observe(route, Clock::now() - begun);
    keep = reader.keep_alive() && !c.expired && !stopping;
  } else if (refused) {
    response = std::move(reader.refusal());
  } else {
    response = error_response(408, "the request did not come in time");
  }
  count(reader.method(), route, response.status);
  logger.debug("http: {} {} {}", reader.method(), route, response.status);

  const std::string_view connection_field = !keep ? "close" : reader.is_http_1_0() ? "keep-alive" : "";
  const std::string text = serialize(response, reader.method() != name(Method::head), connection_field);
  c.begin(config.request_timeout, config.idle_timeout);
  const bool sent = co_await send(c, text);
  if (!sent) co_return AfterAnswer::close;
  if (!keep && (!whole || !c.input.empty())) co_await linger(c);
  co_return keep ? AfterAnswer::keep : AfterAnswer::close;
}

Result<std::unique_ptr<HttpServer>> HttpServer::open(const HttpConfig& config, const Router& router, Logger& logger,
                                                     Metrics& metrics) {
  TRY(check(config));
  std::optional<detail::TcpListener> tcp;
  std::optional<detail::LocalListener> local;
  if (config.port) {
    TRY_ASSIGN(detail::TcpListener listener, detail::listen_tcp(config.host, *config.port));
    tcp.emplace(std::move(listener));
  }
  if (!config.socket_path.empty()) {
    TRY_ASSIGN(detail::LocalListener listener, detail::listen_local(config.socket_path));
    local.emplace(std::move(listener));
  }
  try {
    auto state = std::make_unique<State>(config, router, logger, metrics);
    if (tcp) {
      state->port = tcp->port;
      state->listen(std::move(tcp->socket), tcp->family, false);
    }
    if (local) {
      state->socket_file.emplace(std::move(local->file));
      state->listen(std::move(local->socket), AF_UNIX, true);
    }
    asio::co_spawn(state->io, state->watch_deadlines(), asio::detached);
    state->io_thread = std::thread([&io = state->io] { io.run(); });
    return std::unique_ptr<HttpServer>(new HttpServer(std::move(state)));
  } catch (const std::exception& exception) {
    return fail(ErrorCode::unavailable, "http: {}", exception.what());
  }
}

HttpServer::HttpServer(std::unique_ptr<State> state) : state_(std::move(state)) {}

HttpServer::~HttpServer() { stop(milliseconds(0)); }

std::uint16_t HttpServer::port() const { return state_->port; }

void HttpServer::stop(milliseconds grace) {
  State& state = *state_;
  std::call_once(state.stopped, [&] {
    auto all_closed = state.all_closed.get_future();
    asio::post(state.io, [&state] {
      state.stopping = true;
      error_code ignored;
      for (const auto& acceptor : state.acceptors) acceptor->close(ignored);
      state.accept_pause.cancel();
      state.socket_file.reset();
      for (const auto& connection : state.connections) {
        if (connection->between_requests) connection->cut();
      }
      state.tell_if_all_closed();
    });
    all_closed.wait_for(grace);
    asio::post(state.io, [&state] {
      state.cut_off = true;
      state.watch_timer.cancel();
      for (const auto& connection : state.connections) connection->cut();
    });
    state.pool.stop();  // requests that wait for a thread are dropped
    state.pool.join();
    state.keep_running.reset();
    state.io_thread.join();
  });
}

}  // namespace wfo::api
