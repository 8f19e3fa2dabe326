#include "app/secrets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace wfo::app {
namespace {

using testing::ElementsAre;

TEST(Secrets, AreHiddenWhereverAnAddressMayHaveThem) {
  struct Row {
    std::string_view text;
    std::string_view shown;
  };
  for (const Row& row : {
           Row{"", ""},
           Row{"embedded", "embedded"},
           Row{"amqp://wfo:s3cret@mq.internal:5671/prod", "amqp://wfo:***@mq.internal:5671/prod"},
           Row{"amqp://mq.internal:5671/prod", "amqp://mq.internal:5671/prod"},
           Row{"amqp://wfo@mq.internal", "amqp://wfo@mq.internal"},
           Row{"amqp://wfo:@mq.internal", "amqp://wfo:***@mq.internal"},
           Row{"postgresql://wfo:s3cret@[::1]:5432/wfo?sslmode=verify-full",
               "postgresql://wfo:***@[::1]:5432/wfo?sslmode=verify-full"},
           Row{"postgresql://wfo@db/wfo?password=s3cret&sslmode=require",
               "postgresql://wfo@db/wfo?password=***&sslmode=require"},
           Row{"postgresql://db/wfo?user=wfo&sslpassword=s3cret", "postgresql://db/wfo?user=wfo&sslpassword=***"},
           Row{"postgresql://db/wfo?PassWord=s3cret", "postgresql://db/wfo?PassWord=***"},
           Row{"host=db password=s3cret dbname=wfo", "host=db password=*** dbname=wfo"},
           Row{"host=db password = s3cret dbname=wfo", "host=db password = *** dbname=wfo"},
           Row{"host=db password='s3c ret\\' x' dbname=wfo", "host=db password=*** dbname=wfo"},
           Row{"password='s3cret", "password=***"},
           Row{"password=s3c\\ ret dbname=wfo", "password=*** dbname=wfo"},
           Row{"host=db passfile=/etc/wfo/pgpass nopassword=1", "host=db passfile=/etc/wfo/pgpass nopassword=1"},
           // Passwords that ought to be percent-encoded, and are not.
           Row{"amqp://wfo:p@ss/w?rd@mq/prod", "amqp://wfo:***@mq/prod"},
           Row{"amqp://wfo:p ss@mq", "amqp://wfo:***@mq"},
           Row{"amqp://a:one@x,amqp://b:two@y", "amqp://a:***@x,amqp://b:***@y"},
           Row{"cannot reach amqp://wfo:s3cret@mq: no route", "cannot reach amqp://wfo:***@mq: no route"},
       }) {
    EXPECT_EQ(redacted(row.text), row.shown) << row.text;
  }
}

TEST(Secrets, AreTakenOutOfTheMessagesOfLibraries) {
  const auto secrets = secrets_in("host=db password='s3c ret' sslpassword=xy");
  EXPECT_THAT(secrets, ElementsAre("'s3c ret'", "s3c ret", "xy"));
  EXPECT_EQ(without("missing \"=\" after \"s3c ret\", twice: s3c ret; xylophone", secrets),
            "missing \"=\" after \"***\", twice: ***; xylophone");
}

}  // namespace
}  // namespace wfo::app
