"""Ticks read with nautilus_trader's catalog, to be run by an interpreter that has it.

``python nautilus_read.py TICKS.npy``; records with time_ns, id, leg, price, quantity and
buyer_is_maker. It writes them into a catalog, as trades of two instruments; then, for each line
that it reads, it prints how long it took to have them all back in order, a chunk at a time, as the
backtest of nautilus_trader has them: CPU seconds of all its threads.
"""

import sys
import tempfile
import time

import numpy as np
import pandas as pd
from nautilus_trader.core.nautilus_pyo3 import DataBackendSession, NautilusDataType
from nautilus_trader.model.data import TradeTick, capsule_to_list
from nautilus_trader.persistence.catalog import ParquetDataCatalog
from nautilus_trader.persistence.wranglers import TradeTickDataWrangler
from nautilus_trader.test_kit.providers import TestInstrumentProvider

CHUNK = 20_000


def write(ticks, folder):
    catalog = ParquetDataCatalog(folder)
    legs = (
        TestInstrumentProvider.btcusdt_perp_binance,
        TestInstrumentProvider.ethusdt_perp_binance,
    )
    for leg, make in enumerate(legs):
        instrument, of = make(), ticks[ticks["leg"] == leg]
        frame = pd.DataFrame(
            {
                "price": of["price"],
                "quantity": of["quantity"],
                "buyer_maker": of["buyer_is_maker"].astype(bool),
                "trade_id": of["id"],
            },
            index=pd.to_datetime(of["time_ns"], utc=True),
        )
        catalog.write_data([instrument])
        catalog.write_data(TradeTickDataWrangler(instrument).process(frame))
    return sorted(str(path) for path in catalog.fs.glob(f"{folder}/data/trade_tick/*/*.parquet"))


def read(files):
    start = time.process_time()
    session = DataBackendSession(CHUNK)
    for number, file in enumerate(files):
        session.add_file(NautilusDataType.TradeTick, f"leg{number}", f"/{file.lstrip('/')}")
    count = 0
    for chunk in session.to_query_result():
        found = capsule_to_list(chunk)
        assert isinstance(found[0], TradeTick)
        count += len(found)
    return count, time.process_time() - start


def main():
    ticks = np.load(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        files = write(ticks, folder)
        print("ready", flush=True)
        for _ in sys.stdin:
            count, took = read(files)
            assert count == len(ticks), (count, len(ticks))
            print(took, flush=True)


main()
