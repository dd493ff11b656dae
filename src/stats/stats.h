/* Survival and validation statistics, each with the source of its method. Local. See the helper that owns it.
 */
#ifndef LOB_STATS_H
#define LOB_STATS_H
#include "base/base.h"
#endif
